"""Argo's template tags and expressions, evaluated as the controller evaluates them."""
