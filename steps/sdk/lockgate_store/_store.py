"""What a store promises, whatever keeps it.

StoreError
├── Missing  nothing is kept under the key
├── Exists   create-once: something is kept there already
└── Moved    compare-and-swap: what is kept there is not the version that was read
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

_SEGMENT = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*")


@dataclass(frozen=True)
class Blob:
    """What is kept under a key, and the version a later `replace` or `delete` must name."""

    data: bytes
    version: str


class StoreError(Exception):
    """A store's answer that its caller must decide about; `key` is what it concerns."""

    sentence = "{key}"

    def __init__(self, key: str) -> None:
        super().__init__(self.sentence.format(key=key))
        self.key = key


class Missing(StoreError):
    """Nothing is kept under the key."""

    sentence = "the store has no {key}"


class Exists(StoreError):
    """Something is kept under a key that is created once."""

    sentence = "the store has {key} already; it is created once and never overwritten"


class Moved(StoreError):
    """What is kept under the key is not the version named: somebody else wrote, or deleted it."""

    sentence = "{key} has changed in the store since it was read"


class Store(Protocol):
    """Bytes under keys. No reader ever sees half of a write; failures of the medium are `OutsideFailed`."""

    def read(self, key: str) -> Blob:
        """The bytes and their version; `Missing` when there are none."""

    def create(self, key: str, data: bytes) -> str:
        """Write what must not exist yet; `Exists` when it does. One of many concurrent writers wins."""

    def replace(self, key: str, data: bytes, version: str) -> str:
        """Write over exactly this version; `Moved` when another stands there, or none."""

    def put(self, key: str, data: bytes) -> str:
        """Write whatever stands there: for status files with one writer."""

    def delete(self, key: str, version: str) -> None:
        """Remove exactly this version; `Moved` when another stands there, or none."""

    def exists(self, key: str) -> bool:
        """Whether anything is kept under exactly this key."""

    def list(self, prefix: str) -> Iterator[str]:
        """The keys that begin with the prefix, sorted."""

    def upload(self, path: str | os.PathLike[str], key: str) -> str:
        """Create once from a file, in pieces; `Exists` when the key does."""

    def download(self, key: str, path: str | os.PathLike[str]) -> None:
        """Write what is kept to a file, in pieces; the file appears whole or not at all."""


def check_key(key: str) -> str:
    """The key itself; ValueError unless every segment is a plain name that does not begin with a dot."""
    if not all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        msg = f"{key!r} is no key: segments between slashes are plain names that do not begin with a dot"
        raise ValueError(msg)
    return key
