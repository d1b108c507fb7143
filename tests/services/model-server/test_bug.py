"""A failure of the model is reported to the caller and the log without any value of the request."""

import json
from pathlib import Path

import numpy as np
import onnx
import tiny_bundle
from onnx import numpy_helper
from tiny_bundle.child import serving

UNBOUNDED = [{key: value for key, value in entry.items() if key not in ("low", "high")} for entry in tiny_bundle.INPUTS]

OVERFLOW = {"age": 443.0, "hours": -443.0, "occupation": "Exec"}


def overflowing(folder: Path) -> Path:
    """Write a model that fails at OVERFLOW: infinity minus infinity is not a probability, which lockgate_model sees."""
    model = tiny_bundle.write_model(folder, inputs=UNBOUNDED)
    graph = onnx.load(model / "model.onnx")
    for weight in graph.graph.initializer:
        if weight.name in ("w_age", "w_hours"):
            weight.CopyFrom(numpy_helper.from_array(np.array([3e38], np.float32), weight.name))
    onnx.save(graph, model / "model.onnx")
    return model


def test_a_failure_inside_shows_neither_code_nor_values(
    authority: tiny_bundle.Authority, io: Path, tmp_path: Path
) -> None:
    authority.write_bundle(tmp_path / "bundle", other=overflowing(tmp_path / "model"))
    with serving(tmp_path / "bundle", io, tmp_path / "log") as server:
        given = server.infer(tiny_bundle.request([OVERFLOW]))
        assert (given.status, given.json) == (500, {"error": "internal error; see the server's log"})
        assert server.infer(tiny_bundle.request(tiny_bundle.ROWS)).status == 200
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    (failure,) = [line for line in lines if line["event"] == "exception"]
    assert failure["kind"] == "BadModel"
    assert set(failure) == {"time", "event", "logger", "kind", "at"}
    assert "443.0" not in server.log
    assert "Traceback" not in server.log
