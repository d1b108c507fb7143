"""The store of snapshots, bundles and the `live` pointer: a folder or S3.

Standard library only; boto3 is imported if the store is `s3://`. A key looks like `models/adult-income/live.json`.
A version identifies content: if content changes and changes back, the version is the same again. The live pointer must
notice such a change, so it holds a generation.
"""

from lockgate_store._open import open_at, open_store
from lockgate_store._store import Blob, Exists, Missing, Moved, Store, StoreError, TooLarge
from lockgate_store._tree import get_tree, put_file, put_tree

__all__ = [
    "Blob",
    "Exists",
    "Missing",
    "Moved",
    "Store",
    "StoreError",
    "TooLarge",
    "get_tree",
    "open_at",
    "open_store",
    "put_file",
    "put_tree",
]
