"""JSON, and digests of canonical forms, independent of clock times and file order."""

import hashlib
import json
import os
import re
from io import BufferedReader
from typing import Any

from lockgate_step._supplied import supplied_files

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def canonical(value: object) -> bytes:
    """Return the canonical JSON bytes of a value: sorted keys, no spaces, UTF-8, a final newline."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def loads(data: bytes | str) -> Any:
    """Return the value of a JSON text that another program wrote.

    Errors: ValueError if it is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        msg = "it is nested too deeply"
        raise ValueError(msg) from error


def is_digest(value: object) -> bool:
    """Whether a value that another program wrote is `sha256:<hex>`: a digest may become a part of a path."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def sha256(data: bytes) -> str:
    """Return `sha256:<hex>` of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return `sha256:<hex>` of one file, read in pieces."""
    with open(path, "rb") as stream:
        return stream_digest(stream)


def stream_digest(stream: BufferedReader) -> str:
    """Return `sha256:<hex>` of the rest of an open file."""
    return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def tree_digest(folder: str | os.PathLike[str]) -> str:
    """Return `sha256:<hex>` of a folder: of the canonical JSON object {relative name: file digest}.

    Errors: UnsafeFile for a folder that has anything but regular files with plain names.
    """
    return sha256(canonical({name: stream_digest(stream) for name, stream in supplied_files(folder)}))
