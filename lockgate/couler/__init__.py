"""Couler, the other Python front end: write a release in it, or convert what it made."""

from lockgate.couler.frontend import couler_steps, finish

__all__ = ["couler_steps", "finish"]
