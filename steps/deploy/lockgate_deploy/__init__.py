"""Stages a verified bundle at its own address, moves `live` to it, and cleans up after a run."""
