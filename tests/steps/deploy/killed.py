"""Run a program of `deploy` and kill it before its n-th write to the cluster (`killed.py 3 promote …`) or after (`3+`).

The program's process ends without any clean-up; the cluster, the store and the writes before the kill are real.
"""

import os
import runpy
import sys
from typing import Any

import httpx

when, *arguments = sys.argv[1:]
number, after = int(when.removesuffix("+")), when.endswith("+")
made = 0


class Mortal(httpx.Client):
    """A client whose process is killed at one of its writes."""

    def request(self, method: str, *given: Any, **named: Any) -> httpx.Response:
        global made
        writes = method != "GET"
        made += writes
        if writes and made == number and not after:
            os._exit(137)
        answer = super().request(method, *given, **named)
        if writes and made == number:
            os._exit(137)
        return answer


httpx.Client = Mortal  # type: ignore[misc]
sys.argv = ["lockgate_deploy", *arguments]
runpy.run_module("lockgate_deploy", run_name="__main__", alter_sys=True)
