"""What every store guarantees.

StoreError
├── Missing  the key does not exist
├── TooLarge read: the content is larger than the caller accepts
├── Exists   create: the key already exists
└── Moved    replace or delete: the key has another version than the one that was read
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from lockgate_step import OutsideFailed

LARGEST_READ = 64 << 20  # bytes of a key that is read whole; larger ones are downloaded to a file
_SEGMENT = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*")


@dataclass(frozen=True)
class Blob:
    """The content of a key, and the version that a later `replace` or `delete` must name."""

    data: bytes
    version: str


class StoreError(Exception):
    """The state of a key that the caller must handle."""

    sentence = "{key}"

    def __init__(self, key: str) -> None:
        super().__init__(self.sentence.format(key=key))
        self.key = key


class Missing(StoreError):
    """The key does not exist."""

    sentence = "{key} not found in the store"


class TooLarge(StoreError):
    """The content is larger than the caller accepts."""

    sentence = "{key} is larger than expected"


class Exists(StoreError):
    """The key already exists, and is created once."""

    sentence = "{key} already exists in the store, and is never overwritten"


class Moved(StoreError):
    """The key has another version than the one named, or was deleted."""

    sentence = "{key} has changed in the store since it was read"


class Store(Protocol):
    """Bytes under keys. No reader sees part of a write; failures of the disk or service are `OutsideFailed`."""

    def read(self, key: str, *, at_most: int | None = None) -> Blob:
        """Return the bytes and their version; `Missing` if the key does not exist, `TooLarge` if it has more bytes."""

    def create(self, key: str, data: bytes) -> str:
        """Create a key; `Exists` if it exists. Exactly one of many concurrent writers succeeds."""

    def replace(self, key: str, data: bytes, version: str) -> str:
        """Replace exactly this version; `Moved` if the key has another version or none."""

    def put(self, key: str, data: bytes) -> str:
        """Write the key, whether it exists or not: for status files with one writer."""

    def delete(self, key: str, version: str) -> None:
        """Delete exactly this version; `Moved` if the key has another version or none."""

    def exists(self, key: str) -> bool:
        """Return whether exactly this key exists."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with the prefix, sorted."""

    def upload(self, path: str | os.PathLike[str], key: str) -> str:
        """Create a key from a file, in pieces; `Exists` if the key exists."""

    def download(self, key: str, path: str | os.PathLike[str]) -> None:
        """Copy the content of a key to a file, in pieces; the file appears complete or not at all."""


def check_size(store: Store, key: str, size: int, at_most: int | None) -> None:
    """Check the size of a key that is read whole.

    Errors: TooLarge for more bytes than the caller accepts; OutsideFailed for more than any caller accepts.
    """
    if at_most is not None and size > at_most:
        raise TooLarge(key)
    if size > LARGEST_READ:
        msg = f"{key} in the store {store} has more than {LARGEST_READ:,} bytes"
        raise OutsideFailed(msg, fix="find out who wrote it, and restore it")


def check_key(key: str) -> str:
    """Return the key; ValueError unless every segment is a plain name that does not begin with a dot."""
    if not all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        msg = f"{key!r} is not a key: the segments between slashes must be plain names that do not begin with a dot"
        raise ValueError(msg)
    return key
