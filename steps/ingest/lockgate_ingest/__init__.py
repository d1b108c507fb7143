"""Freezes the data and the live bundle, so that every later step uses the same rows."""
