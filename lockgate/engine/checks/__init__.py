"""Checks of a workflow before its first step, with the controller's own refusals."""
