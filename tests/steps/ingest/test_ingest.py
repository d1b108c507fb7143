"""Runs the whole program: tables, record, snapshot, base."""

import base64
import json
from typing import Any

import pytest
from lockgate_step import Refusal, canonical, file_digest, sha256

from tests.promotions import make_live
from tests.steps.ingest.conftest import TABLES, Workspace, spec

TRAIN = """|a comment, with a "quote
income, job, shoe, sex, age, paid
10, clerk, 41, F, 24, no
20, ?, 42, M, 25, yes
30.5, "nurse, ""night""
 shift", 43, F, 60, no

, nurse, 44, M, ?, yes

"""
TEST = """|1x3 Cross validator
income,job,shoe,sex,age,paid
1, clerk, 40, F, 59.5, yes.
-0, nurse, 40, M, 61, no.
"""


def statement(workspace: Workspace) -> dict[str, Any]:
    envelope = json.loads((workspace.root / "out" / "record").read_bytes())
    value: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return value


def test_an_official_split_is_kept(workspace: Workspace) -> None:
    (workspace.root / "data").mkdir()
    data = workspace.write("data/tiny.csv", TRAIN)
    workspace.write("data/tiny.test", TEST)
    done = workspace.run(spec(data__test="data/tiny.test", data__comment="|"), "--data", data)
    assert done.returncode == 0, done.stderr

    columns = {name: workspace.table(name).to_pydict() for name in TABLES}
    assert columns["rows"] == {
        "income": [10.0, 20.0, 30.5, None],
        "job": ["clerk", None, 'nurse, "night"\n shift', "nurse"],
        "paid": ["no", "yes", "no", "yes"],
    }
    assert columns["train_sensitive"] == {
        "sex": ["F", "M", "F", "M"],
        "age": ["under 25", "25 to 59", "60 and over", None],
    }
    assert columns["test"] == {"income": [1.0, 0.0], "job": ["clerk", "nurse"]}
    assert columns["truth"] == {"paid": ["yes", "no"]}
    assert columns["sensitive"] == {"sex": ["F", "M"], "age": ["25 to 59", "60 and over"]}

    record = statement(workspace)
    assert record["predicateType"] == "urn:lockgate:data:v1"
    assert record["predicate"]["model"] == "tiny"
    assert record["predicate"]["rows"] == {"total": 6, "train": 4, "test": 2}
    assert record["predicate"]["split"]["kind"] == "official"
    assert record["predicate"]["base"] == {"bundle": None, "generation": 0}
    subjects = {entry["name"]: f"sha256:{entry['digest']['sha256']}" for entry in record["subject"]}
    assert subjects.keys() == {*TABLES, "data", "base", "spec"}
    for name in TABLES:
        assert subjects[name] == file_digest(workspace.root / "out" / name)
    assert subjects["spec"] == file_digest(workspace.root / "in" / "spec")
    assert subjects["base"] == file_digest(workspace.root / "out" / "base" / "base.json")
    snapshot = f"models/tiny/snapshots/{subjects['data'].removeprefix('sha256:')}"
    assert list(workspace.store.list("")) == [f"{snapshot}/rows.parquet", f"{snapshot}/test.parquet"]
    assert list((workspace.root / "tmp").iterdir()) == []


def test_dropped_columns_are_logged_by_name_without_values(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", TRAIN + "7777, zookeeper, 45, F, 33, no\n8888, zookeeper, 45, F, 33, yes\n")
    done = workspace.run(spec(data__comment="|", split__test_share=0.5), "--data", data)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines()]
    (dropped,) = [event for event in events if event["event"] == "columns-dropped"]
    assert {"file": "tiny.csv", "columns": ["shoe"]}.items() <= dropped.items()
    for value in ("7777", "8888", "zookeeper", "nurse", "clerk"):
        assert value not in done.stderr + done.stdout


def test_a_step_that_runs_twice_gives_the_same_bytes(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", TRAIN * 1 + "1,clerk,1,F,30,no\n2,nurse,1,M,30,yes\n3,nurse,1,F,30,no\n")
    value = spec(data__comment="|", split__test_share=0.5)
    first = workspace.freeze(value, data=data)
    outputs = workspace.outputs()
    assert workspace.freeze(value, data=data) == first
    assert workspace.outputs() == outputs


def test_a_model_without_sensitive_columns(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", TRAIN)
    workspace.write("tiny.test", TEST)
    workspace.freeze(spec(data__comment="|", sensitive=[], data__test="data/tiny.test"), data=data)
    assert workspace.table("sensitive").column_names == []
    assert workspace.table("rows").num_rows == 4


def test_a_column_may_be_input_and_sensitive(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", TRAIN)
    workspace.write("tiny.test", TEST)
    value = spec(data__comment="|", data__test="data/tiny.test")
    value["inputs"].append({"name": "age", "kind": "number", "low": 0, "high": 120, "bands": [25, 60]})
    workspace.freeze(value, data=data)
    assert workspace.table("rows").column("age").to_pylist() == [24.0, 25.0, 60.0, None]
    assert workspace.table("train_sensitive").column("age").to_pylist()[0] == "under 25"


class TestBase:
    """The live version is frozen together with the data."""

    @pytest.fixture
    def ready(self, workspace: Workspace) -> tuple[Workspace, str]:
        """Make a workspace whose store has a live bundle; return it with the bundle's digest."""
        files = {"model/model.onnx": b"\x08\x07", "card.md": b"# Tiny\n"}
        manifest = {"protocol": 1, "model": "tiny", "files": {name: sha256(data) for name, data in files.items()}}
        digest = sha256(canonical(manifest))
        prefix = f"models/tiny/bundles/{digest.removeprefix('sha256:')}"
        for name, data in {**files, "record.json": b"{}\n", "manifest.json": canonical(manifest)}.items():
            workspace.store.create(f"{prefix}/{name}", data)
        make_live(workspace.store, "tiny", workspace.root / "promote.pem", digest, 7)
        workspace.write("tiny.csv", TRAIN)
        workspace.write("tiny.test", TEST)
        return workspace, digest

    def freeze(self, workspace: Workspace) -> dict[str, Any]:
        value = spec(data__comment="|", data__test="data/tiny.test")
        record = workspace.freeze(value, data=(workspace.root / "tiny.csv").as_uri())
        base: dict[str, Any] = json.loads((workspace.root / "out/base/base.json").read_bytes())
        assert record.predicate["base"] == {"bundle": base["bundle"], "generation": base["generation"]}
        return base

    def test_the_live_bundle_is_copied(self, ready: tuple[Workspace, str]) -> None:
        workspace, digest = ready
        assert self.freeze(workspace) == {"bundle": digest, "generation": 7, "model": "tiny"}
        bundle = workspace.root / "out/base/bundle"
        assert {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()} == {
            "manifest.json", "record.json", "card.md", "model/model.onnx",
        }  # fmt: skip

    @pytest.mark.parametrize("name", ["model/model.onnx", "card.md", "manifest.json"])
    def test_a_bundle_changed_in_the_store_is_refused(self, ready: tuple[Workspace, str], name: str) -> None:
        workspace, digest = ready
        key = f"models/tiny/bundles/{digest.removeprefix('sha256:')}/{name}"
        data = workspace.store.read(key).data
        workspace.store.put(key, data.replace(b'"tiny"', b'"tony"') if name == "manifest.json" else data + b"x")
        with pytest.raises(Refusal, match=digest) as refused:
            self.freeze(workspace)
        assert "restore the bundle from a copy" in refused.value.fix

    @pytest.mark.parametrize("name", ["model/model.onnx", "record.json", "manifest.json"])
    def test_a_bundle_that_is_not_whole_is_refused(self, ready: tuple[Workspace, str], name: str) -> None:
        workspace, digest = ready
        key = f"models/tiny/bundles/{digest.removeprefix('sha256:')}/{name}"
        workspace.store.delete(key, workspace.store.read(key).version)
        with pytest.raises(Refusal, match=f"incomplete in the store: .*{name} is missing"):
            self.freeze(workspace)

    @pytest.mark.parametrize("live", [b"{", b"[]", b'{"bundle": null}', b'{"bundle": null, "generation": "x"}'])
    def test_a_damaged_pointer_is_refused(self, ready: tuple[Workspace, str], live: bytes) -> None:
        workspace, _ = ready
        workspace.store.put("models/tiny/live.json", live)
        with pytest.raises(Refusal, match=r"models/tiny/live\.json (is damaged|has no signed promotion)"):
            self.freeze(workspace)

    def test_a_path_out_of_the_bundle_is_refused(self, ready: tuple[Workspace, str]) -> None:
        workspace, _ = ready
        manifest = {"protocol": 1, "model": "tiny", "files": {"../../spec": sha256(b"")}}
        digest = sha256(canonical(manifest))
        workspace.store.create(
            f"models/tiny/bundles/{digest.removeprefix('sha256:')}/manifest.json", canonical(manifest)
        )
        make_live(workspace.store, "tiny", workspace.root / "promote.pem", digest, 8)
        with pytest.raises(Refusal, match="is not a bundle"):
            self.freeze(workspace)
