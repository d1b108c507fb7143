"""Makes what a caller needs: the schema of a model, and a sample request."""

from collections.abc import Mapping, Sequence
from typing import Any

_SAMPLE_ROWS = 3


def schema(name: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model's inputs and outputs as Open Inference metadata; ranges, categories and labels are parameters.

    model: model.json.
    """
    labels = model["labels"]
    return {
        "name": name,
        "platform": model["format"],
        "inputs": [_tensor(column) for column in model["inputs"]],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1],
             "parameters": {"values": [labels["negative"], labels["positive"]]}},
            {"name": "score", "datatype": "FP64", "shape": [-1],
             "parameters": {"low": 0.0, "high": 1.0, "probability_of": labels["positive"],
                            "threshold": model.get("threshold", 0.5)}},
        ],
    }  # fmt: skip


def sample_request(model: Mapping[str, Any], golden: Mapping[str, Any]) -> dict[str, Any]:
    """Return an Open Inference request of the first golden rows, which are synthetic: one tensor per column."""
    rows: Sequence[Mapping[str, Any]] = golden["requests"][:_SAMPLE_ROWS]
    return {
        "inputs": [
            {
                "name": column["name"],
                "datatype": _datatype(column),
                "shape": [len(rows)],
                "data": [row[column["name"]] for row in rows],
            }
            for column in model["inputs"]
        ]
    }


def _tensor(column: Mapping[str, Any]) -> dict[str, Any]:
    said = {key: value for key, value in column.items() if key != "name" and value not in ("", [], None)}
    return {"name": column["name"], "datatype": _datatype(column), "shape": [-1], "parameters": said}


def _datatype(column: Mapping[str, Any]) -> str:
    return "FP64" if column["kind"] == "number" else "BYTES"
