"""A bundle whose spec names a rollout goes live only with the verdict of canary on it, as it was staged in this run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from lockgate_step import ABTest, Canary, Judged, Serving, Shadow, canonical, sha256

from tests.steps.version_bench import Bench, spec_of

ROLLOUTS: tuple[Judged, ...] = (Canary(), ABTest(), Shadow())


@pytest.fixture(params=ROLLOUTS, ids=lambda rollout: str(rollout.kind))
def rolled(request: pytest.FixtureRequest, bench: Bench) -> Bench:
    bench.spec.write_bytes(canonical(spec_of(bench.model, serving=Serving(rollout=request.param).to_json())))
    bench.make_current()
    return bench


def promoted(bench: Bench, folder: Path, canary: bytes | None, *, staged: bytes | None = None) -> tuple[int, str]:
    """Promote a bundle; return the exit code and the error. Check that nothing changed unless it went live."""
    before = bench.records()
    files: dict[str, Path | bytes] = {"staged": staged or bench.staged(folder), "smoke": bench.smoke(folder)}
    files |= {"bundle": folder, "spec": bench.spec, "policy": bench.policy}
    with bench.platform():
        ended = bench.run("promote", files=files | ({"canary": canary} if canary is not None else {}))
    assert (bench.records() == before) == (ended.code != 0)
    return ended.code, ended.log


def verdict(bench: Bench, folder: Path, subjects: Mapping[str, str] | None = None, **said: Any) -> bytes:
    judged = {**bench.subjects(folder), "staged": sha256(bench.staged(folder)), **(subjects or {})}
    return bench.verdict("canary", judged, **said)


def test_with_the_verdict_it_goes_live_and_the_promotion_names_it(rolled: Bench) -> None:
    folder = rolled.bundle()
    said = verdict(rolled, folder)
    assert promoted(rolled, folder, said)[0] == 0
    live = rolled.get("history/1.json")
    assert live["verdicts"]["canary"] == sha256(said)
    assert set(live["verdicts"]) > {"bias-audit", "smoke-test", "canary"}


def test_without_the_verdict_it_is_refused(rolled: Bench) -> None:
    code, log = promoted(rolled, rolled.bundle(), None)
    assert (code, "there is no verdict of canary" in log) == (3, True)


@pytest.mark.parametrize(
    ("subjects", "said"),
    [
        ({}, {"key": "smoke-test"}),
        ({}, {"key": "stranger"}),
        ({}, {"result": "refused"}),
        ({}, {"result": "inconclusive"}),
        ({}, {"model": "other"}),
        ({"bundle": sha256(b"another")}, {}),
        ({"base": sha256(b"before live moved")}, {}),
        ({"policy": sha256(b"an easier policy")}, {}),
        ({"spec": sha256(b"a smaller share")}, {}),
        ({"staged": sha256(b"another run")}, {}),
    ],
)
def test_another_verdict_is_refused(rolled: Bench, subjects: Mapping[str, str], said: Mapping[str, Any]) -> None:
    folder = rolled.bundle()
    code, log = promoted(rolled, folder, verdict(rolled, folder, subjects, **said))
    assert code == 3, log
    assert json.loads(log.splitlines()[-1])["fix"]


def test_nothing_judged_is_enough_only_for_the_first_version(rolled: Bench) -> None:
    first = rolled.bundle()
    assert promoted(rolled, first, verdict(rolled, first, result="not_judged"))[0] == 0
    live = rolled.get("live.json")
    rolled.put("candidate.json", {})
    second = rolled.bundle({"bundle": live["bundle"], "generation": 1}, mark="second")
    code, log = promoted(rolled, second, verdict(rolled, second, result="not_judged"))
    assert (code, "canary judged nothing" in log) == (3, True)


def test_a_smoke_verdict_in_its_place_is_refused(rolled: Bench) -> None:
    folder = rolled.bundle()
    assert promoted(rolled, folder, rolled.smoke(folder))[0] == 3


def test_all_at_once_needs_no_verdict_of_canary(bench: Bench) -> None:
    assert promoted(bench, bench.bundle(), None)[0] == 0
