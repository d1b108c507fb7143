"""Freezes the data and the live bundle, so that everything after judges the same rows."""
