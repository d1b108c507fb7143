"""Couler prints its workflow when the interpreter ends, which would hide the result of the tests."""

import couler.argo as couler

couler.states._enable_print_yaml = False
