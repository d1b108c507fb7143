"""Writes a model folder like train's, from a version in the model registry."""
