"""Versions on their way to users: the pointers in the store, and the platforms that follow them.

`deploy`, `promote`, `recall` and `canary` use it; each module imports only what its platform needs.
"""
