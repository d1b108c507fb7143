"""Keep the logs of the platform within a size: the supervisor's own, and those of the model servers."""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LOG_BYTES = 5_000_000
KEPT = ".1.log"  # the end of the name of a log's earlier part


def rotate(files: Iterable[Path], most: int = LOG_BYTES) -> None:
    """Move the content of each log that is larger than `most` to `<name>.1.log`, in place of the one before.

    Its writer keeps the file open for appending, so the file is copied and emptied, as logrotate's copytruncate does.
    """
    for file in files:
        with suppress(FileNotFoundError):
            if file.stat().st_size > most:
                shutil.copy(file, kept(file))
                os.truncate(file, 0)


def kept(file: Path) -> Path:
    """Return where the earlier part of a log is."""
    return file.with_name(file.name.removesuffix(".log") + KEPT)
