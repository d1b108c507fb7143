"""Run a program of `deploy` and kill it at its n-th change of the cluster: `killed.py 3 promote …`, after it with `3+`.

It is the program itself that ends, without a word to anybody; cluster, store and all it has said to them are real.
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
