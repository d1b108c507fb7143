"""The verbs about earlier runs and versions - `runs`, `compare`, `history` - on this machine and on a cluster."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lockgate_proof import ProofError, Trust

from lockgate.commands.compare import compare
from lockgate.commands.history import history
from lockgate.commands.runs import listed, report
from lockgate.commands.target import find
from lockgate.errors import BadCall, UnknownName
from lockgate.records.store import store_of
from tests.lockgate.commands.test_targets import (  # noqa: F401 - fixtures
    MODEL,
    RECORDED,
    Place,
    as_workflow,
    build,
    recorded,
    s3,
    with_pages,
)
from tests.seaweed import BUCKET

Build = Callable[[str], Place]
RELEASED, REFUSED = recorded("released").name, recorded("refused").name


def add(place: Place, end: str, folder: Path, change: Callable[[Path], None] = lambda _: None) -> None:
    """Add another recorded run to a target, after a change of its folder, and the keys that signed it."""
    source = recorded(end)
    where = place.target.project.state / "runs" / source.name if place.argo is None else folder / end
    run = Path(shutil.copytree(source, where))
    trust = place.target.environment.config / "trust.json"
    folder.mkdir(exist_ok=True)
    theirs = with_pages(run, end, folder)
    change(run)
    trust.write_bytes(Trust((*Trust.read(trust).keys, *theirs.keys)).to_bytes())
    if place.argo is not None:
        assert place.s3 is not None
        client = place.s3.client()

        def upload(name: str, path: Path) -> str:
            for file in [path] if path.is_file() else sorted(path.rglob("*")):
                key = f"{folder.parent.name}/{end}/{name}"
                key = key if file == path else f"{key}/{file.relative_to(path)}"
                client.upload_file(str(file), BUCKET, key)
            return f"{folder.parent.name}/{end}/{name}"

        place.argo.found.append(as_workflow(run, upload))


def test_runs_lists_every_run_with_its_settings(build: Build, tmp_path: Path) -> None:  # noqa: F811
    place = build("released")
    add(place, "refused", tmp_path / "other")
    found = listed(place.target, MODEL)
    lines = found.lines()
    assert len(lines) == 2
    assert lines[0] == f"run {RELEASED}   {MODEL}  release   2026-11-23 00:10 UTC   released"
    assert lines[1].startswith(f"run {REFUSED}   {MODEL}  release   2026-11-23 00:09 UTC   refused by bias-audit")
    assert lines[1].endswith(" --set mitigation=none")
    value = json.loads(json.dumps(found.to_json()))
    assert [(run["run"], run["model"], run["settings"]) for run in value["runs"]] == [
        (RELEASED, MODEL, {}),
        (REFUSED, MODEL, {"mitigation": "none"}),
    ]
    assert {step["name"]: step["outcome"] for step in value["runs"][1]["steps"]}["bias-audit"] == "refused"
    assert listed(place.target).lines() == lines
    with pytest.raises(UnknownName, match="'no-model'"):
        listed(place.target, "no-model")


def test_compare_shows_both_runs_side_by_side(build: Build, tmp_path: Path) -> None:  # noqa: F811
    place = build("released")
    add(place, "refused", tmp_path / "other")
    found = compare(place.target, REFUSED, RELEASED[:3])
    lines = {line[2:].split("  ")[0].strip(): line for line in found.lines()}
    assert lines["bias-audit"].split() == ["*", "bias-audit", "refused", "passed"]
    assert lines["validate-model"].split() == ["validate-model", "passed", "passed"]
    assert lines["--set mitigation"].split() == ["*", "--set", "mitigation", "none", "–"]
    gap = lines["Difference in selection rate by sex"]
    assert gap.startswith("*")
    assert "0.173 (0.162 to 0.184), beyond" in gap
    assert "0.101 (0.089 to 0.112), within" in gap
    value = json.loads(json.dumps(found.to_json()))
    assert value["runs"] == [REFUSED, RELEASED]
    assert value["verdicts"]["bias-audit"] == {REFUSED: "refused", RELEASED: "passed"}
    rule = value["figures"]["bias-audit bias:sex:selection_rate_difference"]
    assert (rule[REFUSED]["standing"], rule[RELEASED]["standing"]) == ("beyond", "within")
    assert value["figures"]["smoke-test smoke:golden"][REFUSED] is None
    narrow = found.lines(80)
    assert max(map(len, narrow[:-1])) <= 80
    at = narrow.index("* bias-audit")
    assert narrow[at + 1 : at + 3] == [f"    {REFUSED}  refused", f"    {RELEASED}  passed"]


def test_the_page_of_a_comparison_stays_when_the_report_is_written_again(build: Build, tmp_path: Path) -> None:  # noqa: F811
    place = build("released")
    add(place, "refused", tmp_path / "other")
    page = Path(compare(place.target, REFUSED, RELEASED).page.removeprefix("file://"))
    report(place.target, RELEASED)
    text = page.read_text()
    assert "0.162 to 0.184" in text
    assert "<script" not in text


def test_a_figure_that_no_trusted_key_signed_is_not_compared(build: Build, tmp_path: Path) -> None:  # noqa: F811
    def forge(run: Path) -> None:
        (path,) = run.glob("nodes/*bias-audit.0/out/verdict")
        envelope = json.loads(path.read_bytes())
        envelope["signatures"][0]["sig"] = envelope["signatures"][0]["sig"][::-1]
        path.write_text(json.dumps(envelope))

    place = build("released")
    add(place, "refused", tmp_path / "other", forge)
    value = compare(place.target, REFUSED, RELEASED).to_json()
    audited = [pair for key, pair in value["figures"].items() if key.startswith("bias-audit ")]
    assert audited
    assert all(pair[REFUSED] is None and pair[RELEASED] for pair in audited)
    assert value["verdicts"]["bias-audit"][REFUSED] == "refused (no verdict that a trusted key signed)"


def test_a_run_is_not_compared_with_itself(build: Build) -> None:  # noqa: F811
    place = build("released")
    with pytest.raises(BadCall, match="are the same run") as caught:
        compare(place.target, "last", RELEASED)
    assert place.plain(caught.value.fix) == "lockgate runs lists the runs"


def test_history_shows_each_generation_and_what_is_live(build: Build, tmp_path: Path) -> None:  # noqa: F811
    place = build("released")
    live = json.loads((RECORDED / "released" / "live.json").read_bytes())
    found = history(place.target, MODEL, 20)
    assert [each.made.generation for each in found.entries] == list(range(live["generation"], 0, -1))
    assert [each.live for each in found.entries] == [True] + [False] * (live["generation"] - 1)
    lines = [place.plain(line) for line in found.lines()]
    assert lines[0] == f"{MODEL}: {live['generation']} generations, the newest first"
    assert lines[1].startswith(f"     {live['generation']}  {live['bundle'][:13]}  ")
    assert lines[1].endswith("live, bundle not in the store")  # the recording has no bundles
    value = json.loads(json.dumps(found.to_json()))
    assert [each["generation"] for each in value["generations"]] == list(range(live["generation"], 0, -1))
    store_of(place.target.environment).put(
        f"models/{MODEL}/bundles/{live['bundle'].removeprefix('sha256:')}/manifest.json", b"{}"
    )
    assert history(place.target, MODEL, 1).lines()[1].endswith("   live")
    assert history(place.target, MODEL, 1).lines()[-1] == f"  and 1 earlier: --last {live['generation']}"


def test_a_history_that_was_changed_is_not_shown(build: Build, tmp_path: Path) -> None:  # noqa: F811
    place = build("released")
    store, key = store_of(place.target.environment), f"models/{MODEL}/history/1.json"
    before = store.read(key)
    store.delete(key, before.version)
    with pytest.raises(ProofError, match="has no generation 1"):
        history(place.target, MODEL, 20)
    store.put(key, before.data.replace(b'"generation":1', b'"generation":3'))
    with pytest.raises(ProofError, match="was changed"):
        history(place.target, MODEL, 20)


def test_a_history_needs_a_version_that_was_live(build: Build) -> None:  # noqa: F811
    place = build("released")
    with pytest.raises(BadCall, match="was ever live") as caught:
        history(place.target, "other", 20)
    assert place.plain(caught.value.fix) == "lockgate run other"
    with pytest.raises(BadCall, match="shows nothing"):
        history(place.target, MODEL, 0)
    assert find(place.target, "last").id == RELEASED
