"""Keeps the canonical rows in the store, and verifies a snapshot that is there with the digest that names it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from lockgate_step import BadCall, Refusal, SpecFile, file_digest, log
from lockgate_store import Exists, Store

from lockgate_ingest.canonical import Converter, LogicalDigest, snapshot_hex
from lockgate_ingest.columns import kept
from lockgate_ingest.read import batches
from lockgate_ingest.source import Source

_ADDRESS = re.compile(r".*/snapshots/([0-9a-f]{64})/[^/]+")


@dataclass(frozen=True)
class Snapshot:
    """The files of the canonical rows, each with the digest of its rows."""

    files: Sequence[Path]
    digests: Sequence[LogicalDigest]

    @property
    def hex(self) -> str:
        """The digest that names it in the store."""
        return snapshot_hex(self.digests)

    def check_names(self, given: Iterable[tuple[str, str]]) -> None:
        """Check that data from a snapshot are those that its address names.

        given: addresses, each with the digest that its file was compared with, or an empty string.
        Errors: Refusal.
        """
        for uri, wanted in given:
            named = _ADDRESS.fullmatch(unquote(urlsplit(uri).path))
            if named and named[1] != self.hex and not wanted:
                msg = f"the data are not those of the snapshot sha256:{named[1]}, which their address names"
                fix = (
                    "find out who changed it. If a spec with other columns made it, or only one of its two files is "
                    "used, set data_sha256 to the digest of the file, or copy the file to another address"
                )
                raise Refusal(msg, fix=fix)

    def keep(self, store: Store, spec: SpecFile, scratch: Path) -> None:
        """Upload the files; one that is there already is compared. Errors: Refusal when it has other rows."""
        for path, digest in zip(self.files, self.digests, strict=True):
            key = f"models/{spec.name}/snapshots/{self.hex}/{path.name}"
            try:
                store.upload(path, key)
            except Exists:
                found = scratch / "known"
                store.download(key, found)
                if file_digest(found) != file_digest(path) and not _has_rows(found, digest, spec):
                    msg = f"{path.name} of the snapshot sha256:{self.hex} was changed in the store"
                    fix = f"find out who changed {key}, and delete it; the next run writes it again"
                    raise Refusal(msg, fix=fix) from None
                found.unlink()
                log("snapshot-known", digest=f"sha256:{self.hex}", file=path.name)


def _has_rows(path: Path, digest: LogicalDigest, spec: SpecFile) -> bool:
    """Return whether a file has exactly the rows of the digest: another version of pyarrow writes other bytes."""
    columns, source = kept(spec), Source(path.name, path, "")
    found, converter = LogicalDigest(columns), Converter(spec, columns)
    try:
        if source.form != "parquet" or pq.read_schema(path).names != [column.name for column in columns]:
            return False
        for batch in batches(source, spec.data, [column.name for column in columns]):
            found.update(converter.convert(batch))
        converter.check(path.name)
    except (BadCall, pa.ArrowException):
        return False
    return found.to_json() == digest.to_json()
