"""An error in a column of a pipeline names the file and the line, whether Lockgate or the SDK finds it."""

import math
from pathlib import Path

import pytest

from lockgate import ModelSpec, category, label, number
from lockgate.definition.project import load_model
from lockgate.errors import SpecError

PIPELINE = """
from lockgate import ModelSpec, category, label, number

MODEL = ModelSpec(
    name="tiny", owner="a@example.org", data="rows.csv", target=label("y", positive="a", negative="b"),
    inputs={{"x": {column}}},
    sensitive={{}},
)
"""


@pytest.mark.parametrize(
    ("column", "message", "fix"),
    [
        ("number(5, 3)", "number(5, 3): the lower bound is above the upper", "write number(low, high)"),
        ("category()", "a category needs at least one value, each once", 'write category("first", "second", ...)'),
    ],
)
def test_a_wrong_column_is_named_with_its_line(tmp_path: Path, column: str, message: str, fix: str) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "pipeline.py").write_text(PIPELINE.format(column=column))
    with pytest.raises(SpecError) as caught:
        load_model(folder)
    assert (caught.value.message, caught.value.fix) == (f"pipelines/tiny/pipeline.py:6: {message}", fix)


@pytest.mark.parametrize("bounds", [(0, math.inf), (-math.inf, 0)])
def test_a_number_needs_both_bounds(bounds: tuple[float, float]) -> None:
    with pytest.raises(SpecError, match="number 'x' is not bounded on both sides"):
        ModelSpec(
            name="tiny",
            owner="a@example.org",
            data="rows.csv",
            target=label("y", positive="a", negative="b"),
            inputs={"x": number(*bounds)},
            sensitive={"sex": category("F", "M")},
        )
