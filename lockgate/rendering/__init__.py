"""Render a model's files from its definition; the same definition always gives the same bytes."""
