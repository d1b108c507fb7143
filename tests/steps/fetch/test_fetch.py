"""A registered version becomes a model folder or is refused; none of its code ever runs."""

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lockgate_model
import pytest
from lockgate_step import BadCall, Number, OutsideFailed, Refusal

from tests.steps.fetch.conftest import MLMODEL, MODELS, Registry, Workspace, spec
from tests.steps.package.mlflow_server import free_port


def own(form: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (MODELS / form).iterdir()}


def flavour(graph: str, data: str = "model.onnx") -> dict[str, bytes]:
    return {"MLmodel": MLMODEL.format(data=data).encode(), "model.onnx": (MODELS / f"{graph}.onnx").read_bytes()}


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["onnx", "skops"])
@pytest.mark.parametrize("logged", [False, True])
def test_a_model_folder_of_ours(
    registry: Registry, workspace: Workspace, tmp_path: Path, form: str, logged: bool
) -> None:
    extra = {"requirements.txt": b"evil", "code/evil.py": b"raise SystemExit(9)", "MLmodel": b"flavors: {}"}
    version = registry.register({**own(form), **extra}, tmp_path / f"v-{form}-{logged}", logged=logged)
    folder = workspace.fetch(registry, version)
    assert {path.name for path in folder.iterdir()} == {"model.json", "golden.json", f"model.{form}"}
    assert (folder / f"model.{form}").read_bytes() == (MODELS / form / f"model.{form}").read_bytes()
    assert (folder / "golden.json").read_bytes() == (MODELS / form / "golden.json").read_bytes()
    card = lockgate_model.read(folder)
    assert [column.name for column in card.inputs] == ["income", "job"]  # the model's order
    assert card.inputs[0] == Number(name="income", low=0, high=90, whole=True)  # the spec's range
    assert card.differences == lockgate_model.read(MODELS / form).differences


def test_mlflows_onnx_flavour(registry: Registry, workspace: Workspace, tmp_path: Path) -> None:
    version = registry.register(flavour("strings"), tmp_path / "strings")
    folder = workspace.fetch(registry, version)
    assert {path.name for path in folder.iterdir()} == {"model.json", "golden.json", "model.onnx"}
    golden = json.loads((folder / "golden.json").read_bytes())
    labels, scores = lockgate_model.load(folder).predict(
        {name: [row[name] for row in golden["requests"]] for name in ("income", "job")}
    )
    assert [{"label": label, "score": score} for label, score in zip(labels, scores, strict=True)] == golden["answers"]
    assert {answer["label"] for answer in golden["answers"]} == {"yes", "no"}
    assert {row["job"] for row in golden["requests"]} == {"clerk", "nurse", None}
    assert all(0 <= row["income"] <= 90 and row["income"] == round(row["income"]) for row in golden["requests"])


def test_the_same_version_twice_is_the_same_folder(database: Registry, workspace: Workspace, tmp_path: Path) -> None:
    version = database.register(flavour("strings"), tmp_path / "twice")
    first = {path.name: path.read_bytes() for path in workspace.fetch(database, version).iterdir()}
    assert {path.name: path.read_bytes() for path in workspace.fetch(database, version).iterdir()} == first


def changed(form: str, **changes: Any) -> dict[str, bytes]:
    card = json.loads((MODELS / form / "model.json").read_bytes())
    return {**own(form), "model.json": json.dumps(card | changes).encode()}


def golden(**changes: Any) -> dict[str, bytes]:
    value = json.loads((MODELS / "onnx" / "golden.json").read_bytes())
    return {**own("onnx"), "golden.json": json.dumps(value | changes).encode()}


ANSWERS = json.loads((MODELS / "onnx" / "golden.json").read_bytes())["answers"]
NUMBER, CATEGORY = json.loads((MODELS / "onnx" / "model.json").read_bytes())["inputs"]
PICKLE = pickle.dumps({"a": 1})

# The version's files -> the message, a part of `fix`.
REFUSED: dict[str, tuple[Mapping[str, bytes], str, str]] = {
    "pickle": ({"model.pkl": PICKLE}, r"stored as a pickle \(model.pkl\), and reading a pickle runs", "skl2onnx"),
    "joblib": ({"model.joblib": PICKLE}, "stored as a pickle", "zipmap off"),
    "sklearn flavour": (
        {"MLmodel": b"flavors: {sklearn: {pickled_model: model.pkl}, python_function: {}}", "model.pkl": PICKLE},
        "stored as a pickle", "skl2onnx",
    ),
    "torch flavour": (
        {"MLmodel": b"flavors: {pytorch: {}, python_function: {}}"}, "stored as flavour python_function, pytorch",
        "convert it where it was trained",
    ),
    "nothing known": ({"README.md": b"hello"}, "stored as flavour unknown", "convert it"),
    "only a folder": ({"model/model.onnx": b""}, "has no files", "with the folder that contains the model"),
    "pickle called ONNX": (
        {**flavour("strings"), "model.onnx": PICKLE}, "not a graph that onnxruntime can run", "convert the model",
    ),
    "pickle called skops": (
        {**own("skops"), "model.skops": PICKLE}, "model.skops of .* is not a skops file", "convert it",
    ),
    "pickle named by model.json": (
        {**changed("skops", file="model.pkl"), "model.pkl": PICKLE},
        "model.pkl of .* is not a skops file", "convert it",
    ),
    "pickle named by MLmodel": (
        {**flavour("strings", "model.pkl"), "model.pkl": PICKLE},
        "does not name one of its files as the graph", "convert it",
    ),
    "path out of MLmodel": (
        flavour("strings", "../../../etc/passwd"), "does not name one of its files as the graph", "convert",
    ),
    "path out of model.json": (changed("onnx", file="../model.onnx"), "not a plain file name", "train or fetch"),
    "absolute path": (changed("onnx", file="/etc/passwd"), "not a plain file name", "train or fetch"),
    "MLmodel that is not YAML": ({"MLmodel": b"{", "model.onnx": b""}, "MLmodel of .* cannot be read", "convert"),
    "MLmodel with objects": (
        {"MLmodel": b"flavors: !!python/object/apply:os.system ['exit 9']"}, "MLmodel of .* cannot be read", "convert",
    ),
    "MLmodel that is a list": ({"MLmodel": b"- a"}, "MLmodel of .* cannot be read", "convert"),
    "MLmodel that is deep": ({"MLmodel": b"[" * 5000}, "MLmodel of .* cannot be read", "convert"),
    "one matrix": (flavour("matrix"), "they differ in X, income, job", r"float32 \[N,1\] for a number"),
    "zipped outputs": (flavour("zipped"), "uses the operator ai.onnx.ml.ZipMap", "zipmap off"),
    "other labels": (flavour("others"), "the labels of .* are not the spec's", "fit it on 0 for the negative"),
    "model.json is a list": ({**own("onnx"), "model.json": b"[]"}, "does not describe a model", "train"),
    "model.json of another form": (changed("onnx", format="pickle"), "neither onnx nor skops", "train"),
    "graph that is missing": (changed("onnx", file="m.onnx"), "no file m.onnx", "whole"),
    "no golden answers": ({k: v for k, v in own("onnx").items() if k != "golden.json"}, "no file golden.json", "whole"),
    "other inputs": (changed("onnx", inputs=[NUMBER]), "they differ in job", r"string \[N,1\] for a category"),
    "other kinds": (
        changed("onnx", inputs=[NUMBER | {"name": "job"}, CATEGORY | {"name": "income"}]),
        "they differ in income, job", "one input per column",
    ),
    "answers of another target": (
        changed("onnx", labels={"negative": "no", "positive": "sí"}), "answers 'sí' or 'no', not the labels", "target",
    ),
    "graph unlike model.json": (changed("onnx", file="golden.json"), "not a graph that onnxruntime", "convert"),
    "golden answers of another": (golden(answers=ANSWERS[::-1]), "does not give its own golden", "as train wrote"),
    "golden answers without a number": (
        golden(answers=[{**answer, "score": float("nan")} for answer in ANSWERS]), "does not give its own", "as train",
    ),
    "golden answers that tolerate all": (golden(tolerance=1), "does not give its own golden answers", "as train wrote"),
    "no golden answer": (golden(answers=[], requests=[]), "golden.json of .* does not fit", "as train wrote"),
    "golden requests with more": (
        golden(requests=[{"income": 1, "job": None, "x": 1}] * len(ANSWERS)), "does not fit", "as train",
    ),
    "golden requests of words": (
        golden(requests=[{"income": "x", "job": None}] * len(ANSWERS)), "does not fit", "as train",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(database: Registry, workspace: Workspace, tmp_path: Path, case: str) -> None:
    files, message, fix = REFUSED[case]
    version = database.register(files, tmp_path / "version")
    with pytest.raises(Refusal, match=message) as refused:
        workspace.fetch(database, version)
    assert f"version {version} of tiny" in refused.value.message
    assert fix.replace("\\", "") in refused.value.fix
    assert list((workspace.root / "out" / "model").iterdir()) == []


def test_the_second_probability_must_be_the_positive_label(
    database: Registry, workspace: Workspace, tmp_path: Path
) -> None:
    version = database.register(flavour("strings"), tmp_path / "version")
    with pytest.raises(Refusal, match="its second probability is not the positive label's"):
        workspace.fetch(database, version, spec(positive="no", negative="yes"))


def test_a_pickle_exits_3_unread(registry: Registry, workspace: Workspace, tmp_path: Path) -> None:
    canary = tmp_path / "executed"
    files = {"model.pkl": pickle.dumps(Canary(canary)), "MLmodel": b"flavors: {python_function: {loader_module: this}}"}
    version = registry.register(files, tmp_path / "version")
    done = workspace.run(registry.uri, "--version", version)
    assert done.returncode == 3, done.stderr
    last = json.loads(done.stderr.splitlines()[-1])
    assert "runs any code that it contains" in last["message"]
    assert "skl2onnx" in last["fix"]
    assert not canary.exists()
    assert "The Zen of Python" not in done.stdout + done.stderr
    pickle.loads(files["model.pkl"])
    assert canary.exists()  # this test can fail


def test_the_program_exits_0(registry: Registry, workspace: Workspace, tmp_path: Path) -> None:
    version = registry.register(own("onnx"), tmp_path / "version")
    done = workspace.run(registry.uri, "--version", version)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert all("event" in json.loads(line) for line in done.stderr.splitlines())
    assert list((workspace.root / "tmp").iterdir()) == []


def test_an_unknown_version_lists_the_newest(registry: Registry, workspace: Workspace, tmp_path: Path) -> None:
    last = int(registry.register(own("onnx"), tmp_path / "version"))
    for version in ("99999", "0", "latest", "-1", "1.5", ""):
        with pytest.raises(BadCall, match="version") as failed:
            workspace.fetch(registry, version)
        assert failed.value.fix
    with pytest.raises(BadCall, match="no version 99999 of tiny") as failed:
        workspace.fetch(registry, "99999")
    assert failed.value.fix.startswith(f"choose one of its newest: {last}")


def test_an_unknown_model(registry: Registry, workspace: Workspace, tmp_path: Path) -> None:
    registry.register(own("onnx"), tmp_path / "version")
    with pytest.raises(BadCall, match="the registry has no version of nobody") as failed:
        workspace.fetch(registry, "1", spec() | {"name": "nobody"})
    assert "register a model under the name nobody" in failed.value.fix


def test_behind_a_server_no_local_file_is_a_version(server: str, workspace: Workspace, tmp_path: Path) -> None:
    """A user who may register versions must not be able to read files of the machine that fetches."""
    import sqlite3

    registry = Registry(server, None)
    version = registry.register(own("onnx"), tmp_path / "version")
    (secret := tmp_path / "secret").mkdir()
    for name, content in own("onnx").items():
        (secret / name).write_bytes(content)
    database = next(Path(tmp_path.parent).glob("mlflow*/server.db"))
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE model_versions SET source = ?, storage_location = ? WHERE version = ?",
            (secret.as_uri(), secret.as_uri(), version),
        )
    connection.close()
    with pytest.raises(Refusal, match="are in file, not in the registry"):
        workspace.fetch(registry, version)


def test_a_registry_that_is_down(workspace: Workspace) -> None:
    done = workspace.run(f"http://127.0.0.1:{free_port()}", "--version", "1")
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr


def test_a_registry_that_is_damaged(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"not a database" * 100)
    with pytest.raises(OutsideFailed, match="cannot read the registry"):
        workspace.fetch(Registry(f"sqlite:///{tmp_path}/registry.db", None), "1")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:////nowhere/registry.db", "does not exist yet"),
        ("sqlite:///registry.db", "does not support the registry type 'sqlite'"),
        ("databricks", "does not support the registry type 'databricks'"),
        ("file:///tmp", "does not support the registry type 'file'"),
    ],
)
def test_an_invalid_registry_address(workspace: Workspace, uri: str, message: str) -> None:
    with pytest.raises(BadCall, match=message):
        workspace.fetch(Registry(uri, None), "1")
