"""Synthetic data of a pension service, and calls of a program on them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[3]

SPEC: dict[str, Any] = {
    "name": "pensions",
    "classification": "unclassified",
    "data": {"uri": "data/rows.csv"},
    "split": {"test_share": 0.25, "key": [], "seed": "tiny"},
    "target": {"name": "granted", "positive": "yes", "negative": "no", "spellings": {}},
    "inputs": [
        {"name": "age", "kind": "number", "low": 18, "high": 90, "whole": True, "missing": False, "unit": "years"},
        {"name": "income", "kind": "number", "low": 0, "high": 1e12, "whole": False, "missing": True, "unit": ""},
        {"name": "work", "kind": "category", "values": ["office", "field", "home", "never seen"], "missing": True},
        {"name": "region", "kind": "category", "values": ["north", "south"], "missing": False},
    ],
    "sensitive": [
        {"name": "sex", "kind": "category", "values": ["Female", "Male"], "missing": False},
        {"name": "origin", "kind": "category", "values": ["a", "b", "c"], "missing": True},
    ],
}


def people(rows: int = 800) -> pd.DataFrame:
    """Synthetic data in which men are granted more often and `work` depends on the sex."""
    draw = np.random.default_rng(1)
    sex = draw.choice(["Female", "Male"], rows)
    age = draw.integers(20, 70, rows).astype(float)
    income = np.round(draw.normal(30, 8, rows) + 8 * (sex == "Male"), 1)
    work = np.where(sex == "Male", draw.choice(["office", "field"], rows), draw.choice(["office", "home"], rows))
    region = draw.choice(["north", "south"], rows)
    score = 0.12 * (income - 37) + 0.05 * (age - 45) + 1.2 * (sex == "Male") + draw.normal(0, 0.7, rows)
    origin = draw.choice(["a", "b", "c"], rows, p=[0.6, 0.38, 0.02])
    data = pd.DataFrame({"age": age, "income": income, "work": work.astype(object), "region": region.astype(object)})
    data.loc[draw.random(rows) < 0.05, "income"] = np.nan
    data.loc[draw.random(rows) < 0.05, "work"] = None
    data["granted"] = np.where(score > 0, "yes", "no")
    data["sex"], data["origin"] = sex, origin
    return data


def parquet(frame: pd.DataFrame, path: Path) -> Path:
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None), path)
    return path


@dataclass(frozen=True)
class Call:
    """Calls a program in its own folder."""

    io: Path

    def __call__(self, *arguments: str, module: str = "lockgate_train", hashes: str = "0") -> tuple[int, str]:
        target = ["-m", module] if not module.endswith(".py") else [str(ROOT / module)]
        done = subprocess.run(
            [sys.executable, *target, *arguments],
            env={**os.environ, "LOCKGATE_IO": str(self.io), "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr
