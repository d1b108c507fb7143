"""Writes log events to stderr, one JSON object per line."""

import json
import sys
import time

from lockgate_step._visible import visible


def log(event: str, **fields: object) -> None:
    """Write one event to the log; fields are counts, names and digests, never the values of a row."""
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, **fields}
    shown = visible(json.dumps(line, ensure_ascii=False, default=str))
    print(shown, file=sys.stderr, flush=True)  # noqa: T201 - the log is stderr
