"""Seals what passed every gate into the bundle that is served, and registers it."""
