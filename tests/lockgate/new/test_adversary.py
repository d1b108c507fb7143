"""Mutated CSV files: `lockgate new` reads each or refuses it with a next action, in bounded memory and time."""

import gzip
import json
import random
import time
import tomllib
from pathlib import Path

import pytest

from lockgate.errors import BadCall
from lockgate.new import describe, profile
from lockgate.new.writing import files, outlook
from tests.faults import mutated, seeds
from tests.lockgate.new.test_new import table

PLAIN = table(200).encode()
FILES = {"plain": PLAIN, "gzip": gzip.compress(PLAIN)}


@pytest.mark.faults
@pytest.mark.parametrize("form", FILES)
def test_a_real_file_with_changed_bytes_is_read_or_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / "cases.csv"
    for seed in seeds(10, parts=len(FILES)):  # a failure can be repeated: the file is made from the seed alone
        path.write_bytes(mutated(FILES[form], random.Random(seed)))
        began = time.process_time()
        try:
            guess(path)
        except BadCall as refused:
            assert refused.fix
        except Exception as error:
            error.add_note(f"{form}, seed {seed}")
            raise
        assert time.process_time() - began < 5


def guess(path: Path) -> None:
    """Make everything that `lockgate new` would show and write."""
    found = profile(path, "approved")
    assert [*describe(found), *outlook(found)]
    written = files(found, "cases")
    tomllib.loads(written["policy.toml"])
    compile(written["pipeline.py"], "pipeline.py", "exec")
    assert json.loads(written["expectations.json"])
