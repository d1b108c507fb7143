"""Logs of a server: what its libraries report, without anything of a request."""

import logging
import traceback
from pathlib import Path

from lockgate_step import log


class _Places(logging.Handler):
    """Writes a record by its logger, level and place; an exception by its type and place.

    The text of either may contain what a caller sent: header, path, query or body.
    """

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        if failure is not None:
            frames = traceback.extract_tb(failure.__traceback__)[-3:]
            at = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
            log("exception", logger=record.name, kind=type(failure).__name__, at=at)
        else:
            log("message", logger=record.name, level=record.levelname, at=f"{record.filename}:{record.lineno}")


def log_without_data() -> None:
    """Send the records and warnings of every library to the SDK's log, without their texts."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Places()], force=True)
    logging.captureWarnings(capture=True)
