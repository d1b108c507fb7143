"""Users of a model for tests: one request, and a client that never stops asking."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PAUSE = 1 / 50


def infer(address: str, model: str, asked: Mapping[str, object], *, seconds: float) -> dict[str, Any]:
    """One request for one row, by the Open Inference Protocol; the whole answer.

    seconds: to wait for it. Errors: OSError where none comes.
    """
    inputs = [
        {"name": name, "datatype": "BYTES" if isinstance(value, str) else "FP64", "shape": [1], "data": [value]}
        for name, value in asked.items()
    ]
    body = json.dumps({"inputs": inputs}).encode()
    url = f"{address}/v2/models/{model}/infer"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return dict(json.load(answer))


@dataclass
class Client:
    """Asks fifty times a second, and writes down which bundle answered and when it was asked and answered.

    ask: asks once; returns the digest of the bundle that answered. failures: what was not an answer.
    """

    ask: Callable[[], str]
    answers: list[tuple[float, float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._enough = threading.Event()
        # More askers than one answer takes pauses, so that a slow answer does not slow the asking down.
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
