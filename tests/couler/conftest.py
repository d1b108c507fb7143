"""Couler prints its workflow when the interpreter ends, which would hide how the tests ended."""

import couler.argo as couler

couler.states._enable_print_yaml = False
