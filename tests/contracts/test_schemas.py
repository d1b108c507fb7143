"""The published JSON Schemas describe what is really written, and refuse what is not."""

import base64
import copy
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import lockgate_step
import pytest
import yaml
from jsonschema import Draft202012Validator
from lockgate_step import EXIT_CODES, Kind

from tests.workshop import CATALOG, Project

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = sorted((ROOT / "schemas").glob("*.json"))
RECORDED = sorted(path.parent for path in (ROOT / "tests" / "lockgate").rglob("about.json"))
# Verdicts as they are written now; those of the older runs lack what was added since.
VERDICTS = [path for folder in RECORDED if "reported" in folder.parts for path in sorted(folder.rglob("out/verdict"))]
OPEN = ("measurements",)  # each gate's own evidence
Json = dict[str, Any]


@cache
def validator(name: str) -> Draft202012Validator:
    schema = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_bytes())
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def problems(name: str, value: object) -> list[str]:
    """Where a value breaks the schema, and how."""
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(value)]


def document(path: Path) -> Json:
    return dict(json.loads(path.read_bytes()))


def statement(path: Path) -> Json:
    """The statement in a signed record."""
    return dict(json.loads(base64.b64decode(document(path)["payload"], validate=True)))


def specs() -> Iterator[Json]:
    """The spec that each rendered workflow passes to its programs."""
    for path in sorted((ROOT / "workflows").glob("*/*.yaml")):
        for manifest in yaml.safe_load_all(path.read_bytes()):
            for template in manifest["spec"].get("templates", []):
                for artifact in template["inputs"].get("artifacts", []):
                    if artifact["name"] == "spec" and "raw" in artifact:
                        yield json.loads(artifact["raw"]["data"])


def samples() -> dict[str, Json]:
    """One real document for each schema."""
    verdict = next(path for path in VERDICTS if any(each["waiver"] for each in statement(path)["predicate"]["reasons"]))
    run = next(folder for folder in RECORDED if folder.parts[-2:-1] == ("waived",))
    return {
        "contract": document(CATALOG.root / "steps" / "train" / "contract.json"),
        "spec": next(specs()),
        "run": document(run / "run.json"),
        "about": document(next(f for f in RECORDED if document(f / "about.json")["before"]) / "about.json"),
        "envelope": document(verdict),
        "verdict": statement(verdict),
    }


def objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each object in a value."""
    if isinstance(value, dict):
        yield path
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from objects(each, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_each_schema_is_one_and_says_what_it_is_of(path: Path) -> None:
    schema = document(path)
    Draft202012Validator.check_schema(schema)
    assert (schema["$schema"], schema["$id"]) == ("https://json-schema.org/draft/2020-12/schema", path.name)
    assert schema["title"]
    assert schema["description"].endswith(".")


def test_every_schema_is_tested() -> None:
    elsewhere = {"status"}  # beside both targets: tests/lockgate/commands/test_targets.py
    assert {path.name for path in SCHEMAS} == {f"{name}.schema.json" for name in {*samples(), *elsewhere}}


@pytest.mark.parametrize("folder", sorted(CATALOG.step_folders()), ids=lambda folder: folder.name)
def test_every_contract_follows_its_schema(folder: Path) -> None:
    assert problems("contract", document(folder / "contract.json")) == []


def test_the_contract_knows_every_kind_and_exit_code() -> None:
    schema = validator("contract").schema
    kinds = {n for n, kind in vars(lockgate_step).items() if isinstance(kind, type) and issubclass(kind, Kind)}
    assert set(schema["$defs"]["kind"]["enum"]) == kinds - {"Kind"}
    assert schema["$defs"]["program"]["properties"]["exit_codes"]["required"] == list(EXIT_CODES)


def test_every_rendered_spec_follows_its_schema() -> None:
    found = list(specs())
    assert {spec["name"] for spec in found} == {"adult-income", "credit"}
    assert [problem for spec in found for problem in problems("spec", spec)] == []


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_every_recorded_run_follows_its_schemas(folder: Path) -> None:
    assert problems("run", document(folder / "run.json")) == []
    assert problems("about", document(folder / "about.json")) == []


@pytest.mark.parametrize("path", VERDICTS, ids=lambda path: "-".join((path.parts[-6], path.parent.parent.name)))
def test_every_recorded_verdict_follows_its_schemas(path: Path) -> None:
    assert problems("envelope", document(path)) == []
    assert problems("verdict", statement(path)) == []


def test_a_run_of_today_follows_the_schemas(chain: Project, run: str) -> None:
    folder = chain.state / "runs" / run
    records = [*folder.glob("nodes/*/out/record"), *folder.glob("nodes/*/out/*/record.json")]
    verdicts = sorted(folder.glob("nodes/*/out/verdict"))
    assert (len(records), len(verdicts)) == (4, 6), "one verdict is of an additional gate"
    assert problems("run", document(folder / "run.json")) == []
    assert problems("about", document(folder / "about.json")) == []
    assert problems("spec", document(next(folder.glob("nodes/ingest*/in/spec")))) == []
    assert [problem for path in (*records, *verdicts) for problem in problems("envelope", document(path))] == []
    assert [problem for path in verdicts for problem in problems("verdict", statement(path))] == []


@pytest.mark.parametrize("name", sorted(samples()))
def test_no_object_takes_a_key_that_is_not_named(name: str) -> None:
    sample = samples()[name]
    assert problems(name, sample) == []
    shapes = set()
    for path in objects(sample):
        shape = tuple(key for key in path if isinstance(key, str) and key not in sample.get("nodes", ()))
        if shape in shapes or any(key in OPEN for key in path):
            continue  # one of many alike, or open on purpose
        shapes.add(shape)
        more = copy.deepcopy(sample)
        at(more, path)["unexpected"] = {}
        assert problems(name, more) != [], path


@pytest.mark.parametrize("name", sorted(samples()))
def test_every_key_at_the_top_is_required(name: str) -> None:
    sample = samples()[name]
    for key in sample:
        assert problems(name, {other: value for other, value in sample.items() if other != key}) != [], key


def change(*path: Any, to: object) -> Callable[[Json], None]:
    """Put another value at a path."""

    def alter(value: Json) -> None:
        at(value, path[:-1])[path[-1]] = to

    return alter


def drop(*path: Any) -> Callable[[Json], None]:
    """Take away what is at a path."""

    def alter(value: Json) -> None:
        del at(value, path[:-1])[path[-1]]

    return alter


def first_node(**changes: object) -> Callable[[Json], None]:
    """Change the first node of a run."""
    return lambda value: value["nodes"][next(iter(value["nodes"]))].update(changes)


NUMBER = {
    "name": "n", "kind": "number", "low": 0, "high": 1, "whole": False, "missing": False, "unit": "", "bands": [],
}  # fmt: skip
REASON = ("predicate", "reasons", 0)


@pytest.mark.parametrize(
    ("name", "alter"),
    [
        ("contract", change("protocol", to=2)),
        ("contract", change("programs", to=[])),
        ("contract", change("programs", 0, "inputs", 0, "type", to="Tabel")),
        ("contract", change("programs", 0, "uses", to=["network"])),
        ("contract", change("programs", 0, "parameters", 0, "type", to="list")),
        ("contract", change("programs", 0, "parameters", 0, "default", to=[])),
        ("contract", change("programs", 0, "signs", to="no")),
        ("contract", drop("programs", 0, "exit_codes", "4")),
        ("spec", change("name", to="Adult Income")),
        ("spec", change("data", "delimiter", to="||")),
        ("spec", change("data", "format", to="json")),
        ("spec", change("split", "test_share", to=1)),
        ("spec", change("inputs", to=[])),
        ("spec", change("inputs", 0, to={**NUMBER, "kind": "date"})),
        ("spec", change("inputs", 0, to={key: value for key, value in NUMBER.items() if key != "high"})),
        ("spec", change("inputs", 0, to={"name": "c", "kind": "category", "values": [], "missing": False})),
        ("spec", change("sensitive", 0, to=NUMBER)),
        ("spec", change("train", "seed", to=None)),
        ("spec", change("serving", "cpu", to="half")),
        ("spec", change("serving", "replicas", to=0)),
        ("run", change("phase", to="Done")),
        ("run", change("startedAt", to=3)),
        ("run", change("parameters", "seed", to=0)),
        ("run", first_node(type="Task")),
        ("run", first_node(phase="Unknown")),
        ("run", first_node(digest="sha256:12")),
        ("run", first_node(outputs={"exitCode": 0})),
        ("about", change("before", "bundle", to="sha256:12")),
        ("about", change("before", "generation", to=-1)),
        ("about", change("given", "seed", to=0)),
        ("envelope", change("payloadType", to="application/json")),
        ("envelope", change("signatures", to=[])),
        ("envelope", change("signatures", 0, "keyid", to="me")),
        ("verdict", change("predicateType", to="urn:lockgate:data:v1")),
        ("verdict", change("subject", to=[])),
        ("verdict", change("subject", 0, "digest", "sha256", to="12")),
        ("verdict", change("subject", 0, "name", to="rows")),
        ("verdict", change("predicate", "gate", to="train")),
        ("verdict", change("predicate", "result", to="ok")),
        ("verdict", change("predicate", "result", to="refused")),  # each of its reasons is waived
        ("verdict", change(*REASON, "waived_by", to=None)),  # and so it passed
        ("verdict", change(*REASON, "waiver", to="waivers/x.json")),
        ("verdict", change(*REASON, "id", to="bias-audit")),
        ("verdict", drop(*REASON, "rule")),
        ("verdict", drop("predicate", "program", "code")),
        ("verdict", change("predicate", "measurements", "rules", to={"r": {"standing": "fine"}})),
    ],
)
def test_a_wrong_document_is_refused(name: str, alter: Callable[[Json], None]) -> None:
    wrong = copy.deepcopy(samples()[name])
    alter(wrong)
    assert problems(name, wrong) != []
