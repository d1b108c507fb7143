"""Brings a proven bundle to its own address, moves `live` to it, and tidies up after a run."""
