"""Couler, another Python front end for Argo: write a release in it, or convert an existing workflow of it."""

from lockgate.couler.frontend import couler_steps, finish

__all__ = ["couler_steps", "finish"]
