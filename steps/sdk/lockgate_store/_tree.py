"""Copies folders to and from a store."""

from pathlib import Path
from tempfile import TemporaryDirectory

from lockgate_step import LARGEST_FOLDER, MOST_FILES, OutsideFailed, file_digest

from lockgate_store._store import Exists, Missing, Store, check_key


def put_tree(store: Store, folder: Path, prefix: str) -> None:
    """Create each file of the folder below the prefix.

    Keys that exist with the same content are accepted, so a step that runs twice succeeds twice; other content raises
    `Exists`. The caller afterwards writes the file that declares the folder complete (a manifest).
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put_file(store, path, f"{prefix}/{path.relative_to(folder).as_posix()}")


def put_file(store: Store, path: Path, key: str) -> None:
    """Create a key from the file; a key that exists with the same content is accepted."""
    try:
        store.upload(path, key)
    except Exists:
        with TemporaryDirectory() as scratch:
            kept = Path(scratch, "kept")
            store.download(key, kept)
            if file_digest(kept) != file_digest(path):
                raise


def get_tree(store: Store, prefix: str, folder: Path) -> None:
    """Copy everything below the prefix into the folder; `Missing` if there is nothing.

    Errors: OutsideFailed if there is more than a bundle may have.
    """
    keys = list(store.list(f"{prefix}/"))
    if not keys:
        raise Missing(prefix)
    size = 0
    for key in keys:
        path = folder / check_key(key.removeprefix(f"{prefix}/"))
        store.download(key, path)
        size += path.stat().st_size
        if len(keys) > MOST_FILES or size > LARGEST_FOLDER:
            msg = f"{prefix} in the store {store} has more than {MOST_FILES:,} files or {LARGEST_FOLDER:,} bytes"
            raise OutsideFailed(msg, fix="find out who wrote them, and remove what does not belong there")
