"""How long the tests marked `faults` search for inputs that break something.

`make test` runs each of them briefly, with the same inputs every time. `make test-faults` gives each its share of
`LOCKGATE_FAULT_SECONDS` in all, with new inputs; a failure names its seed, to be kept in the test.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence

from hypothesis import HealthCheck, settings

_FULL = 600  # seconds of the whole search, from which on it has a least number of inputs too
SECONDS = float(os.environ.get("LOCKGATE_FAULT_SHARE", "0"))  # of one test; run_all.py sets it


def seeds(brief: int, kept: Sequence[int] = (), *, parts: int = 1, least: int = 0) -> Iterator[int]:
    """Yield the kept seeds, then 0 to `brief`; in the long form new ones, until the time is over.

    parts: how many parametrized forms of the test share the time.
    least: how many seeds the full form has, also if that takes longer.
    """
    yield from kept
    if not SECONDS:
        yield from range(brief)
        return
    until = time.monotonic() + SECONDS / parts
    wanted = least if float(os.environ.get("LOCKGATE_FAULT_SECONDS", _FULL)) >= _FULL else 0
    fresh, done = random.SystemRandom(), 0
    while time.monotonic() < until or done < wanted:
        yield fresh.randrange(2**32)
        done += 1


def examples(brief: int, per_second: float) -> settings:
    """Return Hypothesis settings for `brief` examples; in the long form for as many as fit into the time."""
    return settings(
        max_examples=max(brief, int(SECONDS * per_second)),
        deadline=None,
        derandomize=not SECONDS,
        print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# Bytes that mean something in CSV, in a number, in a terminal or in a workflow.
_TOKENS = (b'"', b'""', b",", b"\n", b"\r", b"\0", b"\xff", b"1e999", b"nan", b"{{", b"\x1b]0;x\x07", "\u202e".encode())


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Change, insert, remove or repeat bytes of a file; some of the new ones mean something in CSV."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        at, size = draw.randrange(len(changed) + 1), draw.choice((1, 1, 2, 4, 40))
        match draw.randrange(7):
            case 0:
                changed[at : at + size] = draw.randbytes(size)
            case 1:
                changed[at:at] = draw.randbytes(size)
            case 2:
                changed[at:at] = draw.choice(_TOKENS)
            case 3:
                changed[at : at + size] = draw.choice(_TOKENS)
            case 4:
                changed[at : at + size] = bytes([draw.choice((0, 0x7F, 0x80, 0xFF))]) * size
            case 5:
                del changed[at : at + size]
            case _:
                changed[at:at] = changed[at : at + size] * draw.choice((1, 3, 1000))
    return bytes(changed)
