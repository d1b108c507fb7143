"""Asks a deployed version, at its own address, what a caller would ask, and what a caller should never ask."""
