"""Gives what train gives, from a version that somebody put in the registry."""
