"""The store: where snapshots, bundles and the `live` pointer are kept, in a folder or in S3.

Standard library only; boto3 is imported when the store is `s3://`. Keys are like `models/adult-income/live.json`.
A version names the content that was there, so it does not notice a change that was taken back: a pointer, which must,
holds a generation.
"""

from lockgate_store._open import open_at, open_store
from lockgate_store._store import Blob, Exists, Missing, Moved, Store, StoreError
from lockgate_store._tree import get_tree, put_file, put_tree

__all__ = [
    "Blob",
    "Exists",
    "Missing",
    "Moved",
    "Store",
    "StoreError",
    "get_tree",
    "open_at",
    "open_store",
    "put_file",
    "put_tree",
]
