"""`review` cannot bring in a graph that answers the judges in another way than the users: fetch refuses it first."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lockgate_fetch.fetch import fetch_version
from lockgate_step import BadCall, Refusal
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.steps.fetch.conftest import MLMODEL, POLICY, Registry, Workspace, spec

node = helper.make_node


def graph(*condition: Any, opset: int = 18) -> ModelProto:
    """Make a model of the spec's inputs that answers the opposite where `flip` is true."""
    values = {"middle": [45.0], "one": [1.0], "scale": [0.1]}
    made = helper.make_graph(
        [
            node("Sub", ["income", "middle"], ["from_middle"]),
            node("Mul", ["from_middle", "scale"], ["logit"]),
            node("Sigmoid", ["logit"], ["s"]),
            *condition,
            node("Sub", ["one", "s"], ["f"]),
            node("Where", ["flip", "f", "s"], ["yes"]),
            node("Sub", ["one", "yes"], ["no"]),
            node("Concat", ["no", "yes"], ["probabilities"], axis=1),
            node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ],
        "review",
        [
            helper.make_tensor_value_info("income", TensorProto.FLOAT, ["rows", 1]),
            helper.make_tensor_value_info("job", TensorProto.STRING, ["rows", 1]),
        ],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2]),
        ],
        [
            *(numpy_helper.from_array(np.array(value, dtype=np.float32), name) for name, value in values.items()),
            numpy_helper.from_array(np.array([0]), "first"),
            numpy_helper.from_array(np.array([200]), "few"),
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def batch_size() -> ModelProto:
    return graph(
        node("Shape", ["income"], ["shape"]),
        node("Gather", ["shape", "first"], ["rows"]),
        node("Less", ["rows", "few"], ["flip"]),
    )


def chance() -> ModelProto:
    return graph(node("RandomUniformLike", ["s"], ["r"]), node("Less", ["r", "s"], ["flip"]))


def honest() -> ModelProto:
    return graph(node("Less", ["income", "middle"], ["flip"]))


def files(made: ModelProto) -> dict[str, bytes]:
    return {"MLmodel": MLMODEL.format(data="model.onnx").encode(), "model.onnx": made.SerializeToString()}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (batch_size, "cannot be served: .* answers change when the same rows are asked 512 at once"),
        (chance, "cannot be served: .* uses the operator RandomUniformLike"),
    ],
)
def test_a_registered_graph_that_depends_on_more_than_the_row_is_refused(
    database: Registry, workspace: Workspace, tmp_path: Path, make: Callable[[], ModelProto], said: str
) -> None:
    version = database.register(files(make()), tmp_path / "version")
    with pytest.raises(Refusal, match=said) as refused:
        workspace.fetch(database, version)
    assert refused.value.fix
    assert not list((workspace.root / "out" / "model").iterdir())


def test_an_accepted_operator_is_still_asked(database: Registry, workspace: Workspace, tmp_path: Path) -> None:
    version = database.register(files(chance()), tmp_path / "version")
    workspace.prepare(database.uri, spec())
    given = workspace.root / "in"
    accepted = '\n[[accepted_operator]]\noperator = "RandomUniformLike"\nwhy = "A lottery."\n'
    (given / "policy").write_text(POLICY + accepted)
    with pytest.raises(Refusal, match=r"answers change when the same rows are asked again|its own golden answers"):
        fetch_version(given / "spec", given / "policy", workspace.root / "out" / "model", version=version)


def test_an_honest_graph_is_fetched(database: Registry, workspace: Workspace, tmp_path: Path) -> None:
    version = database.register(files(honest()), tmp_path / "version")
    folder = workspace.fetch(database, version)
    assert len(json.loads((folder / "golden.json").read_bytes())["answers"]) == 20


def test_a_pod_reads_no_registry_in_a_file(workspace: Workspace, database: Registry) -> None:
    workspace.prepare(database.uri, spec())
    (workspace.root / "environment" / "platform").write_text("kubernetes\n")
    with pytest.raises(BadCall, match="the registry's address names a file"):
        workspace.fetch(database, "1")
