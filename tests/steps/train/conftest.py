import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from lockgate_step import SpecFile
from lockgate_train.rows import Problem, Training, table

from tests.steps.train.pensions import SPEC, Call, parquet, people


@pytest.fixture
def data() -> pd.DataFrame:
    return people()


@pytest.fixture
def problem() -> Problem:
    return Problem.of(SpecFile.from_json(SPEC))


@pytest.fixture
def read(tmp_path: Path, problem: Problem) -> Callable[[pd.DataFrame], Training]:
    """Training rows as the program reads them."""

    def read_(frame: pd.DataFrame) -> Training:
        return table(parquet(frame.drop(columns=["sex", "origin"], errors="ignore"), tmp_path / "rows"), problem)

    return read_


@pytest.fixture
def call(tmp_path: Path, data: pd.DataFrame) -> Call:
    io = tmp_path / "io"
    (io / "in").mkdir(parents=True)
    (io / "in" / "spec").write_text(json.dumps(SPEC))
    parquet(data.drop(columns=["sex", "origin"]), io / "in" / "rows")
    parquet(data[["sex", "origin"]], io / "in" / "sensitive")
    return Call(io)
