"""Clients of a model for tests: one request, and a client that sends requests continuously."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PAUSE = 1 / 50


def infer(
    address: str, model: str, asked: Mapping[str, object], *, seconds: float, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Send one request for one row, in the Open Inference Protocol; return the whole response.

    seconds: the timeout. Errors: OSError without a response.
    """
    inputs = [
        {"name": name, "datatype": "BYTES" if isinstance(value, str) else "FP64", "shape": [1], "data": [value]}
        for name, value in asked.items()
    ]
    body = json.dumps({"inputs": inputs}).encode()
    url = f"{address}/v2/models/{model}/infer"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return dict(json.load(answer))


@dataclass
class Client:
    """Sends 50 requests per second, and records start, end and serving bundle of each.

    ask: sends one request; returns the digest of the bundle that served it. failures: the errors.
    """

    ask: Callable[[], str]
    answers: list[tuple[float, float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._enough = threading.Event()
        # Several threads, so that a slow response does not delay the next request.
        self._askers = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(4)]

    def __enter__(self) -> "Client":
        for asker in self._askers:
            asker.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        for asker in self._askers:
            asker.join(timeout=60)

    def _ask(self, number: int) -> None:
        due = time.monotonic() + number * PAUSE
        while not self._enough.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            due += len(self._askers) * PAUSE
            began = time.time()
            try:
                digest = self.ask()
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            else:
                self.answers.append((began, time.time(), digest))
