"""Opens the file at an address, with a local copy if needed, and detects its format."""

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from lockgate_step import BadCall, OutsideFailed, file_digest, without_credentials, without_files
from lockgate_store import Missing, open_at

Form = Literal["csv", "gzip", "parquet"]

_FORMS: dict[bytes, Form] = {b"PAR1": "parquet", b"\x1f\x8b": "gzip"}
_UNREAD = {
    b"PK\x03\x04": "a zip archive (an .xlsx is one too)",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
}


@dataclass(frozen=True)
class Source:
    """A file that can be read on this machine; messages use its `name`."""

    name: str
    path: Path
    digest: str

    @property
    def form(self) -> Form:
        """The format by the first bytes, not by the name. Errors: BadCall when it is empty or not supported."""
        with self.path.open("rb") as stream:
            head = stream.read(8)
        if not head:
            msg = f"{self.name} is empty"
            raise BadCall(msg, fix="point data at a file with rows")
        for magic, what in _UNREAD.items():
            if head.startswith(magic):
                msg = f"{self.name} is {what}"
                raise BadCall(msg, fix="write it as CSV, gzipped CSV or Parquet")
        return next((form for magic, form in _FORMS.items() if head.startswith(magic)), "csv")


def checked(uri: str, environment: Path) -> str:
    """Return a data address. Errors: BadCall when it contains credentials, or names a file of a pod."""
    return without_files(without_credentials(uri, "the data address"), "the data address", environment)


@contextmanager
def opened(uri: str, environment: Path, credentials: Path, scratch: Path, *, sha256: str = "") -> Iterator[Source]:
    """Open the file at an address; a remote file is copied first.

    No message says the digest or the size of a file: it may be no table, but one of the pod's secrets.
    Errors: BadCall when it does not exist or has another digest; OutsideFailed when the remote service fails or the
    file changes while it is read.
    """
    url = urlsplit(checked(uri, environment))
    name = unquote(posixpath.basename(url.path))
    match url.scheme:
        case "file" if url.netloc in ("", "localhost"):
            path = Path(unquote(url.path))
            if not path.is_file():
                msg = f"there is no file {path}"
                raise BadCall(msg, fix="correct data, or put the file there")
            if not os.access(path, os.R_OK):
                msg = f"permission denied: this user cannot read {path}"
                raise BadCall(msg, fix="give this user permission to read it")
        case "s3" if url.netloc and name:
            path = scratch / "copy"
            _copy(uri, path, environment, credentials)
        case _:
            msg = f"{uri!r} is not a data address"
            raise BadCall(msg, fix="write file:///folder/file (three slashes) or s3://bucket/key")
    before = _stamp(path)
    digest = file_digest(path)
    if sha256 and digest.removeprefix("sha256:") != sha256.removeprefix("sha256:").lower():
        msg = f"{name} has another digest than {sha256}, which data_sha256 requires"
        raise BadCall(msg, fix="correct data_sha256 (sha256sum FILE), or restore the file that it names")
    yield Source(name, path, digest)
    if _stamp(path) != before:
        msg = f"{name} was changed while it was read"
        raise OutsideFailed(msg, fix="run again when no other program writes the file")


def beside(data: str, uri: str, other: str) -> str:
    """Return the address of a second file, whose path in the spec is relative to that of the first."""
    if urlsplit(other).scheme:
        return other
    url = urlsplit(data)
    way = posixpath.relpath(other, posixpath.dirname(urlsplit(uri).path) or ".")
    return url._replace(path=posixpath.normpath(posixpath.join(posixpath.dirname(url.path), way))).geturl()


def named(uri: str) -> str:
    """Return an address for the signed record, without the folder of a local file.

    So the same data in two folders give the same record, and so the same bundle.
    """
    return f"file:{posixpath.basename(urlsplit(uri).path)}" if uri.startswith("file:") else uri


def _copy(uri: str, path: Path, environment: Path, credentials: Path) -> None:
    url = urlsplit(uri)
    store = open_at(f"s3://{url.netloc}", environment, credentials)
    try:
        if store is None:
            raise Missing(uri)
        store.download(url.path.removeprefix("/"), path)
    except (Missing, ValueError):  # ValueError: the key is not valid, so no such object exists
        msg = f"{uri} not found"
        raise BadCall(msg, fix="correct data, or put the object there") from None


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    # The time of the last change of the file's record cannot be set back, that of its content can.
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
