"""The program's LOCKGATE_IO folder, and a small model spec."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lockgate_ingest.ingest import Tables, freeze
from lockgate_proof import Trust, TrustedKey, new_key
from lockgate_step import Record
from lockgate_store import Store, open_store

TABLES = ("rows", "train_sensitive", "test", "truth", "sensitive")


def spec(**changes: Any) -> dict[str, Any]:
    """Make a spec with a number, a category, a sensitive category and a sensitive number; `data__x` sets data's x."""
    value: dict[str, Any] = {
        "name": "tiny",
        "classification": "unclassified",
        "data": {"uri": "data/tiny.csv", "test": None, "columns": None, "delimiter": ",", "missing": ["", "?"]},
        "target": {"name": "paid", "positive": "yes", "negative": "no", "spellings": {"yes.": "yes", "no.": "no"}},
        "inputs": [
            {"name": "income", "kind": "number", "low": 0, "high": 100},
            {"name": "job", "kind": "category", "values": ["clerk", "nurse"], "missing": True},
        ],
        "sensitive": [
            {"name": "sex", "kind": "category", "values": ["F", "M"]},
            {"name": "age", "kind": "number", "low": 0, "high": 120, "whole": True, "bands": [25, 60]},
        ],
        "split": {"test_share": 0.4, "key": [], "seed": "tiny"},
    }
    for path, change in changes.items():
        *groups, name = path.split("__")
        place = value
        for group in groups:
            place = place[group]
        place[name] = change
    return value


@dataclass(frozen=True)
class Workspace:
    """The folder that LOCKGATE_IO names, with its environment and a key."""

    root: Path

    def __post_init__(self) -> None:
        for folder in ("in", "out/base", "environment", "tmp"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "environment" / "store").write_text((self.root / "kept").as_uri())
        if not (self.root / "key").exists():
            new_key(self.root / "key" / "private.pem")
            promote = TrustedKey(new_key(self.root / "promote.pem"), ("promote",), "promote@example.org")
            (self.root / "environment" / "trust.json").write_bytes(Trust((promote,)).to_bytes())

    @property
    def store(self) -> Store:
        return open_store(self.root / "environment", self.root / "credentials")

    @property
    def tables(self) -> Tables:
        return Tables(*(self.root / "out" / name for name in TABLES))

    def write(self, name: str, content: str | bytes) -> str:
        """Write a data file; return its address."""
        path = self.root / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path.as_uri()

    def put_spec(self, value: Mapping[str, Any]) -> Path:
        path = self.root / "in" / "spec"
        path.write_text(json.dumps(value))
        return path

    def freeze(self, value: Mapping[str, Any], **settings: str) -> Record:
        """Run ingest in this process."""
        return freeze(self.put_spec(value), self.tables, self.root / "out" / "base", **settings)

    def run(self, value: Mapping[str, Any], *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the program as a process."""
        self.put_spec(value)
        return subprocess.run(
            [sys.executable, "-m", "lockgate_ingest", *arguments],
            env={**os.environ, "LOCKGATE_IO": str(self.root)}, capture_output=True, text=True,
        )  # fmt: skip

    def table(self, name: str) -> pa.Table:
        return pq.read_table(self.root / "out" / name)

    def outputs(self) -> dict[str, bytes]:
        return {name: (self.root / "out" / name).read_bytes() for name in TABLES}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("LOCKGATE_IO", str(tmp_path / "io"))
    return Workspace(tmp_path / "io")
