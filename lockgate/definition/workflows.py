"""The workflows of a model. A user may replace the chain, but not `gates`: it has no option to turn a gate off."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from lockgate_step import AdditionalVerdict, Bundle, Judged, ModelFile, RecallVerdict

from lockgate.definition import steps
from lockgate.definition.candidate import Candidate
from lockgate.definition.catalog import Program
from lockgate.definition.contract import RAW
from lockgate.definition.graph import Artifact, Graph, Setting, Task, add, graph, nested
from lockgate.definition.model import ModelSpec
from lockgate.errors import UnknownName

NAMES = ("release", "review", "rollback")  # the workflows of each model


@dataclass(frozen=True)
class _Sealed:
    bundle: Artifact[Bundle]


@dataclass(frozen=True)
class _Recalled:
    bundle: Artifact[Bundle]
    recalled: Artifact[RecallVerdict]


def tuned(spec: ModelSpec, setting: str) -> str | int | float | bool | Setting:
    """Return a train setting of the spec: its value, or the workflow's parameter if a run may vary it."""
    return Setting(f"workflow.parameters.{setting}") if setting in spec.tunable else spec.train[setting]


def frozen_data(spec: ModelSpec) -> tuple[steps.Ingest, steps.ValidateData]:
    """Freeze the data and the live version, and judge the data. Every chain starts with this."""
    del spec  # both programs read its columns, ranges and split from spec.json
    data = steps.ingest(data=Setting("workflow.parameters.data"))
    checked = steps.validate_data(
        data.rows,
        data.test,
        data.truth,
        data.record,
        sensitive=data.sensitive,
        train_sensitive=data.train_sensitive,
    )
    return data, checked


def brought(model: Artifact[ModelFile], data: steps.Ingest, checked: steps.ValidateData) -> Candidate:
    """Make a candidate of a model and the frozen data that it is judged on."""
    groups = data.sensitive, data.train_sensitive
    return Candidate(model, data.test, data.truth, *groups, data.record, data.base, checked.verdict)


def train_candidate(spec: ModelSpec) -> Candidate:
    """The default chain: ingest, validate-data, train; train reads the sensitive columns only if it mitigates."""
    unknown = [setting for setting in spec.train if setting not in inspect.signature(steps.train).parameters]
    if unknown:
        raise UnknownName("setting of train", unknown[0], inspect.signature(steps.train).parameters)
    data, checked = frozen_data(spec)
    mitigates = "mitigation" in spec.tunable or spec.train.get("mitigation", "none") != "none"
    model = steps.train(
        data.rows,
        data.train_sensitive if mitigates else None,
        after=checked.verdict,
        **{setting: tuned(spec, setting) for setting in spec.train},  # type: ignore[arg-type]  # checked by render
    )
    return brought(model, data, checked)


def fetch_candidate(spec: ModelSpec) -> Candidate:
    """The chain of a review: a version from the registry, judged like any other."""
    data, checked = frozen_data(spec)
    model = steps.fetch(version=Setting("workflow.parameters.version"))
    return brought(model, data, checked)


def gates(spec: ModelSpec, c: Candidate, additional: Iterable[Program] = ()) -> None:
    """Take a candidate through the gates to users. Each gate's verdict is an argument of the next steps.

    additional: the gates that the model has beside those of every model.
    """
    answers = steps.predict(c.model, c.test, c.data, c.base)
    quality = steps.validate_model(answers, c.truth, c.data)
    bias = steps.bias_audit(answers, c.truth, c.data, c.sensitive, c.train_sensitive)
    known = {**{each.name: getattr(c, each.name) for each in fields(c)}, "answers": answers}
    others = {gate.name: _judge(gate, known) for gate in additional}
    sealed = steps.package(c.model, c.data, answers, c.data_verdict, quality.verdict, bias.verdict, additional=others)
    with nested("rollout", _Sealed(sealed.bundle), mutex=f"lockgate-{spec.name}") as inside:
        staged = steps.deploy(inside.bundle)
        smoke = steps.smoke_test(staged, inside.bundle)
        judged = isinstance(spec.serving.rollout, Judged)
        canary = steps.canary(staged, smoke, inside.bundle) if judged else None
        steps.promote(staged, smoke, inside.bundle, canary)


def _judge(gate: Program, known: Mapping[str, Artifact[Any]]) -> Artifact[AdditionalVerdict]:
    """Add an additional gate to the open graph; each of its inputs has the name of what it reads."""
    given = {entry["name"]: known[entry["name"]] for entry in gate.inputs if entry["type"] not in RAW}
    return add(gate.name, gate.name, given, {}).output("verdict")


def release(spec: ModelSpec, additional: Iterable[Program] = ()) -> Graph:
    """The workflow from data to users: the model's chain, then the gates."""
    with graph("release") as whole:
        candidate = (spec.candidate or train_candidate)(spec)
        with nested("gates", candidate) as inside:
            gates(spec, inside, additional)
    return whole


def review(spec: ModelSpec, additional: Iterable[Program] = ()) -> Graph:
    """The workflow from a registered version to users: fetch, then the same gates."""
    with graph("review") as whole:
        candidate = fetch_candidate(spec)
        with nested("gates", candidate) as inside:
            gates(spec, inside, additional)
    return whole


def rollback(spec: ModelSpec) -> Graph:
    """The workflow that brings back a version that was live before: it is tested again, and judged by no gate again."""
    with graph("rollback") as whole:
        found = steps.recall(to=Setting("workflow.parameters.to"))
        with nested("rollout", _Recalled(found.bundle, found.verdict), mutex=f"lockgate-{spec.name}") as inside:
            staged = steps.deploy(inside.bundle, inside.recalled)
            smoke = steps.smoke_test(staged, inside.bundle, inside.recalled)
            steps.promote(staged, smoke, inside.bundle, recalled=inside.recalled)
    return whole


def every(spec: ModelSpec, additional: Iterable[Program] = ()) -> dict[str, Graph]:
    """Every workflow of a model that a run can be started of, by name."""
    own = tuple(additional)
    return {"release": release(spec, own), "review": review(spec, own), "rollback": rollback(spec)}


def conclude(spec: ModelSpec) -> Task:
    """The task at the end of every run, successful or not."""
    with graph("end") as whole:
        steps.conclude(model=spec.name, status=Setting("workflow.status"))
    return whole.tasks[0]
