"""A hostile model file cannot run code, read outside its arrays, or run forever."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lockgate_model
import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lockgate_model import BadModel, load, write
from lockgate_model._skops import dump_pipeline
from lockgate_train.estimators import columns, declared
from lockgate_train.rows import Problem, Training
from lockgate_train.train import fit
from onnx import TensorProto, helper
from sklearn.pipeline import Pipeline

Array = np.ndarray[Any, Any]
Read = Callable[[pd.DataFrame], Training]
ROW: dict[str, list[Any]] = {"age": [40], "income": [31.5], "work": ["field"], "region": ["north"]}
FAMILIES = {
    "histogram": ("sklearn.ensemble.HistGradientBoostingClassifier", '{"max_iter": 3, "max_leaf_nodes": 5}'),
    "boosting": ("sklearn.ensemble.GradientBoostingClassifier", '{"n_estimators": 3, "max_depth": 2}'),
    "forest": ("sklearn.ensemble.RandomForestClassifier", '{"n_estimators": 3, "max_depth": 3}'),
}
CHILDREN = ("left", "right", "left_child", "right_child")
FEATURE = ("feature_idx", "feature")


def make(folder: Path, training: Training, problem: Problem, family: str, form: Any = "skops") -> Path:
    pipeline = fit(training, problem.inputs, declared(*FAMILIES[family], 0))
    write(folder, pipeline, inputs=problem.inputs, labels=problem.labels, rows=training.inputs, form=form)
    return folder


@pytest.fixture(params=list(FAMILIES))
def model(request: pytest.FixtureRequest, tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame) -> Path:
    return make(tmp_path / "model", read(data), problem, request.param)


def rewrite(folder: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Pass each part of the skops file through `change`."""
    path = folder / "model.skops"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, change(name, content))


def rewrite_nodes(folder: Path, change: Callable[[Array], Array]) -> None:
    """Pass the nodes of each tree through `change`."""

    def changed(_: str, content: bytes) -> bytes:
        if not content.startswith(b"\x93NUMPY"):
            return content
        array = np.load(io.BytesIO(content))
        if not array.dtype.fields:
            return content
        target = io.BytesIO()
        np.save(target, change(array.copy()))
        return target.getvalue()

    rewrite(folder, changed)


def rewrite_schema(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Pass each object of the schema through `change`, which alters it in place."""

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            change(value)
        for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(child)

    def changed(name: str, content: bytes) -> bytes:
        if name != "schema.json":
            return content
        schema = json.loads(content)
        walk(schema)
        return json.dumps(schema).encode()

    rewrite(folder, changed)


def field(nodes: Array, names: tuple[str, ...]) -> str:
    return next(name for name in names if name in nodes.dtype.names)


def inner(nodes: Array) -> Array:
    return np.asarray(nodes["is_leaf"] == 0 if "is_leaf" in nodes.dtype.names else nodes["left_child"] != -1)


def far_child(nodes: Array) -> Array:
    nodes[field(nodes, CHILDREN)][inner(nodes)] = 10**6
    return nodes


def circle(nodes: Array) -> Array:
    for name in (name for name in CHILDREN if name in nodes.dtype.names):
        nodes[name][inner(nodes)] = 0
    return nodes


def far_feature(nodes: Array) -> Array:
    nodes[field(nodes, FEATURE)][inner(nodes)] = 4
    return nodes


def negative_feature(nodes: Array) -> Array:
    nodes[field(nodes, FEATURE)][inner(nodes)] = -1
    return nodes


def no_nodes(nodes: Array) -> Array:
    return nodes[:0]


def cut(nodes: Array) -> Array:
    return nodes[: len(nodes) - 1]


def test_an_untouched_file_is_loaded(model: Path) -> None:
    rewrite_nodes(model, lambda nodes: nodes)
    labels, scores = load(model).predict(ROW)
    assert labels[0] in ("yes", "no")
    assert 0 <= scores[0] <= 1


@pytest.mark.parametrize("spoil", [far_child, circle, far_feature, negative_feature, no_nodes, cut])
def test_a_tree_that_would_leave_its_arrays_is_refused(model: Path, spoil: Callable[[Array], Array]) -> None:
    rewrite_nodes(model, spoil)
    with pytest.raises(BadModel):
        load(model)


def test_a_native_split_of_categories_is_refused(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame
) -> None:
    def categorical(nodes: Array) -> Array:
        nodes["is_categorical"] = 1
        nodes["bitset_idx"] = 10**6
        return nodes

    model = make(tmp_path / "model", read(data), problem, "histogram")
    rewrite_nodes(model, categorical)
    with pytest.raises(BadModel, match="splits categories natively"):
        load(model)


@pytest.mark.parametrize("family", ["boosting", "forest"])
def test_a_tree_that_claims_other_nodes_than_it_has_is_refused(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame, family: str
) -> None:
    model = make(tmp_path / "model", read(data), problem, family)

    def claim(node: dict[str, Any]) -> None:
        if isinstance(node.get("node_count"), dict):
            node["node_count"] = {
                "__class__": "int", "__module__": "builtins", "__loader__": "JsonNode", "content": "1",
                "is_json": True, "__id__": 10**6,
            }  # fmt: skip

    rewrite_schema(model, claim)
    with pytest.raises(BadModel, match="the node count of a tree is wrong"):
        load(model)


def test_an_estimator_with_a_wrong_width_is_refused(model: Path) -> None:
    def widen(node: dict[str, Any]) -> None:
        if isinstance(node.get("n_features_in_"), dict):
            node["n_features_in_"] = dict(node["n_features_in_"], __loader__="JsonNode", content="3", is_json=True)
            node["n_features_in_"].pop("__id__", None)

    rewrite_schema(model, widen)
    with pytest.raises(BadModel):
        load(model)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_indices_is_refused_or_harmless(model: Path, data: st.DataObject) -> None:
    """Without the checks, this test crashes the whole test run."""
    whole = (model / "model.skops").read_bytes()

    def change(nodes: Array) -> Array:
        name = data.draw(st.sampled_from([name for name in (*CHILDREN, *FEATURE) if name in nodes.dtype.names]))
        place = data.draw(st.integers(0, len(nodes) - 1))
        limits = np.iinfo(nodes.dtype[name])
        near = st.integers(-3 if limits.min < 0 else 0, len(nodes) + 3)
        nodes[name][place] = data.draw(st.one_of(near, st.sampled_from([limits.min, limits.max])))
        return nodes

    try:
        rewrite_nodes(model, change)
        try:
            predictor = load(model)
        except BadModel:
            return
        assert predictor.predict(ROW)[0][0] in ("yes", "no")
    finally:
        (model / "model.skops").write_bytes(whole)


def test_a_function_in_the_file_is_refused(model: Path) -> None:
    def call(node: dict[str, Any]) -> None:
        if node.get("__class__") == "FunctionTransformer":
            node["content"]["content"]["func"] = {
                "__class__": "function", "__module__": "builtins", "__loader__": "FunctionNode",
                "content": {"module_path": "os", "function": "system"}, "__id__": 10**6,
            }  # fmt: skip

    rewrite_schema(model, call)
    with pytest.raises(BadModel, match="FunctionNode"):
        load(model)


def test_a_type_that_skops_trusts_and_we_do_not_is_refused(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame
) -> None:
    """Nearest neighbours walk a tree in compiled code without bounds checks."""
    model = make(tmp_path / "model", read(data), problem, "forest")
    training = read(data)
    neighbours = declared("sklearn.neighbors.KNeighborsClassifier", "{}", 0)
    encoder = columns(problem.inputs, declared(*FAMILIES["histogram"], 0))
    filled = training.inputs.fillna({"income": 0.0})
    neighbours.fit(encoder.fit_transform(filled), training.labels)
    dump_pipeline(Pipeline([("columns", encoder), ("estimator", neighbours)]), model / "model.skops")
    with pytest.raises(BadModel, match="KNeighborsClassifier"):
        load(model)


def test_the_files_own_trust_list_counts_for_nothing(model: Path) -> None:
    def rename(node: dict[str, Any]) -> None:
        if node.get("__class__") == "OrdinalEncoder":
            node["__module__"] = "os"

    card = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**card, "trusted": ["os.OrdinalEncoder", "builtins.function"]}))
    rewrite_schema(model, rename)
    with pytest.raises(BadModel, match=r"os\.OrdinalEncoder"):
        load(model)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("form", ["onnx", "skops"])
def test_a_truncated_or_foreign_file_is_refused(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame, form: str, share: float
) -> None:
    model = make(tmp_path / "model", read(data), problem, "boosting", form)
    path = model / f"model.{form}"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadModel):
        load(model)
    path.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(BadModel):
        load(model)
    path.unlink()
    with pytest.raises(BadModel, match="not in the model folder"):
        load(model)


def graph(inputs: Mapping[str, int], output: str = "probabilities", width: int = 2, outside: str = "") -> bytes:
    """A graph that returns a constant, which is stored in the file `outside` if one is named."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, width])
    if outside:
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=outside)
    else:
        weights.float_data.extend([0.5] * width)
    made = helper.make_graph(
        [helper.make_node("Identity", ["w"], [output])],
        "g",
        [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, width])],
        [weights],
    )
    whole: bytes = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()
    return whole


RIGHT = {
    "age": TensorProto.FLOAT,
    "income": TensorProto.FLOAT,
    "work": TensorProto.STRING,
    "region": TensorProto.STRING,
}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (graph({**RIGHT, "shoe_size": TensorProto.FLOAT}), "of the graph and of model.json differ: shoe_size"),
        (graph({**RIGHT, "age": TensorProto.STRING}), "of the graph and of model.json differ: age"),
        (
            graph({name: kind for name, kind in RIGHT.items() if name != "work"}),
            "of the graph and of model.json differ: work",
        ),
        (graph(RIGHT, output="scores"), "no output `probabilities`"),
        (graph(RIGHT, width=3), "does not return two probabilities for each"),
        (graph(RIGHT, outside="secret.bin"), "the graph reads constants from other files"),
        (graph(RIGHT, outside="/etc/hostname"), "the graph reads constants from other files"),
    ],
)
def test_a_graph_of_another_shape_or_with_outside_data_is_refused(
    tmp_path: Path,
    read: Read,
    problem: Problem,
    data: pd.DataFrame,
    made: bytes,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make(tmp_path / "model", read(data), problem, "boosting", "onnx")
    (model / "model.onnx").write_bytes(made)
    (model / "secret.bin").write_bytes(np.ones(2, np.float32).tobytes())
    monkeypatch.chdir(model)
    with pytest.raises(BadModel, match=message):
        load(model)
    (model / "model.onnx").write_bytes(graph(RIGHT))
    assert load(model).predict(ROW) == (["yes"], [0.5])


def test_scores_that_are_not_probabilities_are_refused(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame
) -> None:
    model = make(tmp_path / "model", read(data), problem, "boosting", "onnx")
    made = onnx.load_from_string(graph(RIGHT))
    for wrong in (1.5, -0.5, float("nan")):
        made.graph.initializer[0].float_data[:] = [wrong, wrong]
        (model / "model.onnx").write_bytes(made.SerializeToString())
        with pytest.raises(BadModel, match="not probabilities"):
            load(model).predict(ROW)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "pickle"},
        {"file": "../model.onnx"},
        {"file": ""},
        {"threshold": 1.5},
        {"inputs": []},
        {"inputs": [{"name": "a", "kind": "picture"}]},
        {"inputs": [{"name": "a", "kind": "number"}, {"name": "a", "kind": "number"}]},
        {"labels": {"negative": "no", "positive": "no"}},
        {"labels": ["no", "yes"]},
        {"inputs": 3},
    ],
)
def test_an_invalid_description_is_refused(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame, change: dict[str, Any]
) -> None:
    model = make(tmp_path / "model", read(data), problem, "boosting", "onnx")
    card = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(BadModel) as raised:
        load(model)
    assert raised.value.fix


def test_a_folder_without_a_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="has no model"):
        lockgate_model.read(tmp_path)
    (tmp_path / "model.json").write_text("[" * 100_000)
    with pytest.raises(BadModel, match="cannot be read as JSON"):
        lockgate_model.read(tmp_path)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(BadModel, match="JSON"):
        lockgate_model.read(tmp_path)
