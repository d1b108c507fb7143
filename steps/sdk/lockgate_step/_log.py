"""Writes log events to stderr, one JSON object per line."""

import json
import sys
import time
from contextlib import suppress

from lockgate_step._visible import visible


def log(event: str, **fields: object) -> None:
    """Write one event to the log; fields are counts, names and digests, never the values of a row.

    A line that cannot be written is lost: a full disk must not end what logs.
    """
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, **fields}
    shown = visible(json.dumps(line, ensure_ascii=False, default=str))
    with suppress(OSError, ValueError):  # a full disk, a closed file
        print(shown, file=sys.stderr, flush=True)  # noqa: T201 - the log is stderr
