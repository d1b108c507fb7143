"""The rendered workflows on a real Argo: started by `argo submit`, by an event and by a schedule; refused; stopped."""

import hashlib
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from lockgate_proof import new_key

from lockgate.report.lines import short
from tests.asking import Client
from tests.cluster import place, services
from tests.cluster.cluster import OwnCluster
from tests.cluster.conftest import NAMESPACE
from tests.cluster.site import OPERATOR, Site, account, phases, pods


@pytest.fixture(scope="module")
def refused(site: Site, first: str) -> tuple[str, str]:
    """A run refused by validate-model, and the bundle that was live before."""
    del first
    before = site.live()["bundle"]
    run = site.submit(threshold=0.999)
    ended = site.wait(run)
    assert ended["status"]["phase"] == "Failed", account(ended)
    return run, before


@pytest.mark.sample
def test_data_in_s3_become_a_model_that_answers_through_its_service(released: Site, first: str) -> None:
    ended = released.workflow(first)
    assert set(phases(ended).values()) == {"Succeeded"}, account(ended)
    assert json.loads(released.store.read(f"models/{released.model}/history/1.json").data)["run"] == first
    answer = released.ask()
    assert answer["outputs"][0]["data"] == ["yes"]
    served = json.loads(released.kubectl("get", "deployments", "-o", "json"))["items"]
    assert [d["status"]["readyReplicas"] for d in served] == [2]


@pytest.mark.parametrize("folder", sorted((place.ROOT / "workflows").glob("*/")), ids=lambda folder: folder.name)
def test_argo_finds_nothing_wrong_in_what_is_rendered(folder: Path, site: Site) -> None:
    done = site.argo("lint", "--offline", "--strict", str(folder))
    assert done.code == 0, done.said


def test_argo_finds_nothing_wrong_beside_what_is_on_the_cluster(site: Site) -> None:
    done = site.argo("lint", "--strict", str(site.root / "workflows"))
    assert done.code == 0, done.said


@pytest.mark.sample
def test_each_step_ran_in_its_own_image_named_by_digest(released: Site, first: str, images: dict[str, str]) -> None:
    templates = released.workflow(first)["status"]["storedTemplates"].values()
    used = {t["container"]["image"] for t in templates if "container" in t}
    assert used <= set(images.values())
    assert len(used) == 8, used


@pytest.mark.sample
def test_a_refused_variant_fails_with_its_verdict_kept_and_live_unchanged(
    released: Site, refused: tuple[str, str]
) -> None:
    run, before = refused
    ended = released.workflow(run)
    [node] = pods(ended, "validate-model")  # once: a gate that refuses is not retried
    assert node["outputs"]["exitCode"] == "3"
    said = json.loads(node["message"].split("): ", 1)[1])
    assert (said["result"], said["reasons"][0]["id"]) == ("refused", "validate-model/1")
    assert said["reasons"][0]["lines"]  # the measured value, its limit and the policy's line
    [verdict] = [a for a in node["outputs"]["artifacts"] if a["name"] == "verdict"]
    kept = services.store().client().get_object(Bucket=place.BUCKET, Key=verdict["s3"]["key"])
    assert said["verdict"] == f"sha256:{hashlib.sha256(kept['Body'].read()).hexdigest()}"
    assert phases(ended)["package"] == "Omitted"
    assert not list(pods(ended, "deploy"))
    assert (released.live()["bundle"], released.answers()) == (before, before)


def test_the_pages_of_a_run_are_read_from_the_store(released: Site, first: str, refused: tuple[str, str]) -> None:
    run, before = refused
    text = {each: _first_page(released, each) for each in (first, run)}
    measured = "Accuracy"
    assert all(measured in page and "at least 0.7" in page for page in text.values())
    assert "no trusted key" not in "".join(text.values()).lower()
    assert "before it, no version" in text[first]
    assert f"Nothing changed: users still get {short(before)}" in text[run]
    assert f"lockgate waive {run} validate-model/1 -n {released.namespace}" in text[run]
    proven = json.loads(released.lockgate("verify", released.model, "--cluster", "--json").done.out)
    assert proven["bundle"] == released.live()["bundle"]


def test_who_may_excepts_a_refusal_and_the_next_run_is_released(
    released: Site, refused: tuple[str, str], tmp_path: Path
) -> None:
    trust = released.root / "kubernetes" / "environment" / "trust.json"
    before, generation = trust.read_bytes(), released.live()["generation"]
    key = tmp_path / "waive.pem"
    asked = ["waive", refused[0], "validate-model/1", "--by", "Ana Diaz, director", "--why", "a test", "-n", NAMESPACE]
    asked += ["--until", f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"]
    assert "a waiver for a cluster must be signed with the key of its approver" in released.lockgate(*asked).expect(2)
    public = new_key(key)
    assert f"may not sign waivers in namespace {NAMESPACE}" in released.lockgate(*asked, "--key", str(key)).expect(3)
    try:
        keys = [*json.loads(before)["keys"], {"public": public, "may": ["waive"], "owner": "Ana Diaz, director"}]
        known = json.dumps({**json.loads(before), "keys": keys})
        trust.write_text(known)
        released.lockgate("render").expect(0)
        said = released.lockgate(*asked, "--key", str(key)).expect(0)
        assert f"lockgate submit {released.model} --set threshold=0.999 --watch -n {NAMESPACE}" in said
        released.apply()
        run = released.submit(threshold=0.999)
        ended = released.wait(run)
        assert ended["status"]["phase"] == "Succeeded", account(ended)
        assert released.live()["generation"] == generation + 1
        assert "Ana Diaz, director" in _first_page(released, run)
        trust.write_bytes(before)  # as if the waiver were trusted only on a laptop
        assert "waive" in released.lockgate("submit", released.model, "-n", NAMESPACE).expect(3)
        trust.write_text(known)  # the approver stays trusted, because the live version depends on the waiver
    finally:
        for waiver in (released.root / "pipelines" / released.model / "waivers").glob("*"):
            waiver.unlink()
        released.lockgate("render").expect(0)
        released.apply()


def _first_page(site: Site, run: str) -> str:
    """Return the text of the first page written by `lockgate report`."""
    said = json.loads(site.lockgate("report", run, "-n", site.namespace, "--json").done.out)
    assert {"index", "validate-data", "validate-model", "bias-audit"} <= said["pages"].keys()
    page = Path(urlsplit(said["pages"]["index"]).path).read_text()
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2])).split())


@pytest.mark.sample
def test_an_event_of_the_registry_starts_a_review_once(released: Site) -> None:
    before = released.live()
    event = {
        "entity": "model_version_alias", "action": "created",
        "data": {"name": released.model, "alias": "candidate", "version": "1"},
    }  # fmt: skip
    assert _post(released, event, "delivery-1") == 200
    assert _post(released, {**event, "action": "deleted"}, "delivery-2") == 200  # starts nothing
    run = f"{released.model}-delivery-1"
    ended = released.wait(run)
    assert ended["status"]["phase"] == "Succeeded", account(ended)
    assert [node["phase"] for node in pods(ended, "fetch")] == ["Succeeded"]
    assert released.live()["generation"] == before["generation"] + 1
    _post(released, event, "delivery-1")  # delivered again
    runs = json.loads(released.kubectl("get", "workflows", "-o", "json"))["items"]
    assert [r["metadata"]["name"] for r in runs if "delivery" in r["metadata"]["name"]] == [run]
    assert released.live()["generation"] == before["generation"] + 1


def test_the_cron_fires_and_a_stopped_run_tidies_up(released: Site) -> None:
    before = released.live()
    cron = yaml.safe_load((released.root / "workflows" / released.model / "retrain.yaml").read_bytes())
    cron["spec"]["schedules"] = ["* * * * *"]
    released.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump(cron))
    try:
        run = _started_by_cron(released, cron["metadata"]["name"])
    finally:
        released.kubectl(
            "patch", "cronworkflow", cron["metadata"]["name"], "--type=merge", '-p={"spec":{"suspend":true}}'
        )
    released.until(run, "validate-data")
    done = released.argo("stop", run, account=OPERATOR)
    assert done.code == 0, done.said
    ended = released.wait(run)
    assert ended["status"]["phase"] == "Failed", account(ended)
    assert [node["phase"] for node in pods(ended, "conclude")] == ["Succeeded"], account(ended)
    uid = ended["metadata"]["uid"]
    summary = json.loads(released.store.read(f"models/{released.model}/runs/{run}/{uid}/summary.json").data)
    assert (summary["promoted"], summary["status"]) == (None, "Failed")
    assert released.live() == before


def test_no_request_fails_while_live_moves(own: OwnCluster, released: Site) -> None:
    del own  # only there can Services be called from here
    old = released.live()["bundle"]
    assert released.answers() == old
    run = released.submit(seed=5)
    released.until(run, "promote", "Pending")
    with Client(released.answers) as client:
        ended = released.wait(run)
        time.sleep(5)  # the old version's pods are deleted meanwhile
    assert ended["status"]["phase"] == "Succeeded", account(ended)
    new = released.live()["bundle"]
    assert client.failures == []
    bundles = [bundle for _, _, bundle in client.answers]
    assert (set(bundles), bundles[0], bundles[-1]) == ({old, new}, old, new)


@pytest.mark.sample
def test_an_earlier_version_comes_back_and_no_request_fails(own: OwnCluster, released: Site) -> None:
    """Within a minute, by the person who may submit; the answers change once."""
    del own  # asks through a node's own network
    old = released.live()
    released.wait(released.submit(seed=11))
    bad = released.live()
    assert bad["generation"] == old["generation"] + 1
    began = time.monotonic()
    with Client(released.answers) as client:
        run = released.submit("rollback")
        ended = released.wait(run)
        took = time.monotonic() - began
        time.sleep(2)
    assert ended["status"]["phase"] == "Succeeded", account(ended)
    assert {name for name, phase in phases(ended).items() if phase == "Succeeded"} >= {"recall", "promote"}
    now = released.live()
    assert (now["bundle"], now["generation"]) == (old["bundle"], bad["generation"] + 1)
    assert client.failures == []
    assert {digest for _, _, digest in client.answers} == {old["bundle"], bad["bundle"]}
    assert released.answers() == old["bundle"]
    assert took < 60, took
    proven = json.loads(released.lockgate("verify", released.model, "--cluster", "--json").expect(0))
    assert proven["bundle"] == old["bundle"]
    said = released.lockgate("history", released.model, "-n", released.namespace).expect(0)
    assert said.splitlines()[1].endswith("rollback, live")


def _started_by_cron(site: Site, cron: str) -> str:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        label = f"--selector=workflows.argoproj.io/cron-workflow={cron}"
        found = json.loads(site.kubectl("get", "workflows", label, "-o", "json"))["items"]
        if found:
            return str(found[0]["metadata"]["name"])
        time.sleep(1)
    msg = "the CronWorkflow started no run within 90 s"
    raise TimeoutError(msg)


def _post(site: Site, event: object, delivery: str) -> int:
    """Post an event to the Argo server as the registry's webhook does; return the status of the response."""
    token = site.kubectl("create", "token", "lockgate-events").strip()
    request = urllib.request.Request(
        f"{place.ARGO_SERVER}/api/v1/events/{site.namespace}/registry",
        json.dumps(event).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "X-MLflow-Delivery-Id": delivery},
    )
    context = ssl.create_default_context(cafile=str(site.cluster.ca))
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
