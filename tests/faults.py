"""How long the tests marked `faults` search for inputs that break something.

`make test` runs each of them briefly, with the same inputs every time. `make test-faults` gives each its share of
`LOCKGATE_FAULT_SECONDS` in all, with new inputs; a failure names its seed, to be kept in the test.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence

from hypothesis import HealthCheck, settings

SECONDS = float(os.environ.get("LOCKGATE_FAULT_SHARE", "0"))  # of one test; run_all.py sets it


def seeds(brief: int, kept: Sequence[int] = (), *, parts: int = 1) -> Iterator[int]:
    """Yield the kept seeds, then 0 to `brief`; in the long form new ones, until the time is over.

    parts: how many parametrized forms of the test share the time.
    """
    yield from kept
    if not SECONDS:
        yield from range(brief)
        return
    until = time.monotonic() + SECONDS / parts
    fresh = random.SystemRandom()
    while time.monotonic() < until:
        yield fresh.randrange(2**32)


def examples(brief: int, per_second: float) -> settings:
    """Return Hypothesis settings for `brief` examples; in the long form for as many as fit into the time."""
    return settings(
        max_examples=max(brief, int(SECONDS * per_second)),
        deadline=None,
        derandomize=not SECONDS,
        print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
