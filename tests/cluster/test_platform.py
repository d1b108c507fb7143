"""The platform `kubernetes` on a real cluster: roll out versions without a failed request, and delete old ones."""

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lockgate_proof import verify
from lockgate_step import canonical, sha256

from tests.cluster import rollout
from tests.cluster.cluster import OwnCluster
from tests.cluster.rollout import MODEL, ROWS, Callers, World, kubectl, read


@pytest.fixture(scope="module")
def namespace(own: OwnCluster) -> None:
    del own  # only there can the programs and clients reach the addresses
    rollout.prepare()


@pytest.fixture
def world(namespace: None, images: dict[str, str], tmp_path: Path) -> Iterator[World]:
    rollout.clear()
    yield World(tmp_path / "world", images)
    rollout.clear()


@pytest.mark.sample
def test_a_first_version_is_staged_and_then_users_are_sent_to_it(world: World) -> None:
    digest = world.bundle()
    ended = world.deploy(digest, run="r1")
    assert ended.code == 0, ended.log
    assert {service["metadata"]["name"] for service in read("services")} == {world.name(digest)}
    (version,) = read("deployments")
    assert version["status"]["availableReplicas"] == 2
    assert world.promote(digest, run="r1").code == 0
    world.check_serving(digest, 1)
    assert world.conclude(run="r1").code == 0
    assert world.versions() == {world.name(digest)}
    address = world.users()["spec"]["clusterIP"]
    connection = http.client.HTTPConnection(address, 8080, timeout=60)
    connection.request("POST", f"/v2/models/{MODEL}/infer", rollout.BODY, {"content-type": "application/json"})
    answer = connection.getresponse()
    assert (answer.status, digest in answer.read().decode()) == (200, True)
    connection.close()


def test_no_request_fails_while_live_moves_and_the_old_version_goes(world: World) -> None:
    first = world.bundle()
    world.release(first, run="r1")
    callers = Callers(f"http://{world.users()['spec']['clusterIP']}:8080")
    with callers.calling():
        second = world.bundle()
        world.release(second, run="r2")
        kubectl("wait", "pods", f"--selector=lockgate.io/bundle={first[7:19]}", "--for=delete", "--timeout=300s")
    assert callers.failures == []
    assert (callers.answers[0], callers.answers[-1]) == (first, second)
    world.check_serving(second, 2)
    assert world.versions() == {world.name(second)}


@pytest.mark.sample
def test_a_refused_runs_candidate_goes_away_and_users_notice_nothing(world: World) -> None:
    first = world.bundle(replicas=1, max_replicas=1)
    world.release(first, run="r1")
    second = world.bundle(replicas=1, max_replicas=1)
    assert world.deploy(second, run="r2").code == 0
    assert world.versions() == {world.name(first), world.name(second)}
    assert world.conclude(run="r2", status="Failed").code == 0
    assert world.versions() == {world.name(first)}
    world.check_serving(first, 1)


def test_smoke_test_asks_every_replica_by_its_own_address(world: World) -> None:
    staged = world.deploy(world.bundle(), run="r1").out / "staged"
    ended = world.smoke_test(staged)
    assert ended.code == 0, ended.log
    trust = world.authority.trust
    measured = verify(ended.out / "verdict", trust, signer="smoke-test", kind="verdict").predicate["measurements"]
    assert measured["replicas"] == 2
    assert measured["golden_one_by_one"] == {"rows": 2 * len(ROWS), "wrong": 0}
    kubectl("scale", "deployments", "--all", "--replicas=1")
    kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
    kubectl("rollout", "status", "deployments", "--timeout=300s")
    time.sleep(2 * rollout.NAMES_KEPT)  # until the addresses of deleted pods have left every cache
    assert "2 replicas were deployed" in world.smoke_test(staged, "--patience", "6").message


def test_every_object_of_a_version_is_there_and_goes_with_it(world: World) -> None:
    digest = world.bundle(replicas=1, max_replicas=2)
    assert world.deploy(digest, run="r1").code == 0
    kinds = "services,horizontalpodautoscalers,poddisruptionbudgets"
    assert [found["metadata"]["name"] for found in read(kinds)] == [world.name(digest)] * 3
    (pod,) = read("pods")
    (container,) = pod["spec"]["containers"]
    assert container["image"] == world.images["model-server"]
    assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume], "no API token"
    assert world.conclude(run="r1", status="Failed").code == 0
    assert world.versions() == set()
    kubectl("wait", kinds, "--all", "--for=delete", "--timeout=300s")


def test_an_image_that_cannot_be_pulled_is_named_and_its_candidate_goes(world: World) -> None:
    gone = world.images["model-server"].split("@")[0] + "@sha256:" + 64 * "0"
    ended = world.deploy(world.bundle(image=gone), run="r1")
    assert ended.code == 4
    assert gone in ended.message
    assert world.versions() == set()
    assert world.get("candidate.json") is None


@pytest.mark.sample
def test_a_bundle_that_its_server_refuses_is_refused(world: World) -> None:
    ended = world.deploy(world.bundle(spoil=True), run="r1")
    assert ended.code == 3, ended.log
    assert "model-server refuses the bundle" in ended.message
    assert world.versions() == set()


@pytest.mark.sample
def test_a_bundle_that_is_not_what_its_name_says_is_refused_before_it_is_served(world: World) -> None:
    one, other = world.bundle(), world.bundle(replicas=1, max_replicas=1)
    prefix = f"models/{MODEL}/bundles/"
    for name in ("manifest.json", "spec.json"):
        content = world.store.read(f"{prefix}{other[7:]}/{name}").data
        world.store.put(f"{prefix}{one[7:]}/{name}", content)
    ended = world.deploy(one, run="r1")
    assert ended.code == 3, ended.log
    assert other in ended.message


def test_a_version_that_no_node_can_hold_says_so(world: World) -> None:
    ended = world.deploy(world.bundle(memory="900Gi"), "--wait", "15", run="r1")
    assert ended.code == 4
    assert "Insufficient memory" in ended.message
    assert world.versions() == set()


def test_a_live_version_that_somebody_took_away_comes_back(world: World) -> None:
    digest = world.bundle(replicas=1, max_replicas=1)
    world.release(digest, run="r1")
    kubectl("delete", "deployments,services", "--all", "--cascade=foreground", "--wait")
    assert world.conclude(run="r2", status="Failed").code == 0
    kubectl("rollout", "status", f"deployment/{world.name(digest)}", "--timeout=300s")
    assert world.conclude(run="r2", status="Failed").code == 0
    world.check_serving(digest, 1)


def test_users_who_are_ahead_of_the_store_are_not_taken_back(world: World) -> None:
    digest = world.bundle(replicas=1, max_replicas=1)
    world.release(digest, run="r1")
    kubectl("annotate", "service", MODEL, "lockgate.io/generation=9", "--overwrite")
    ended = world.deploy(world.bundle(replicas=1, max_replicas=1), run="r2")
    assert ended.code == 3
    assert "set back to generation 1: generation 9 was accepted before" in ended.message
    assert world.users()["spec"]["selector"]["lockgate.io/bundle"] == digest[7:19]
    assert world.versions() == {world.name(digest)}


def test_a_live_pointer_that_nobody_signed_moves_no_user(world: World) -> None:
    digest = world.bundle(replicas=1, max_replicas=1)
    world.release(digest, run="r1")
    live, other = world.get("live.json"), world.bundle(replicas=1, max_replicas=1)
    promoted = world.users()["metadata"]["annotations"]["lockgate.io/promotion"]
    assert promoted == sha256(canonical(live["promotion"]))
    key = f"models/{MODEL}/live.json"
    forged = {name: value for name, value in live.items() if name != "promotion"}
    for pointer, says in (
        ({**live, "bundle": other}, "its bundle is not the one in its signed promotion"),
        ({**forged, "bundle": other, "generation": 2}, "has no signed promotion"),
    ):
        world.store.put(key, canonical(pointer))
        for ended in (world.deploy(other, run="r2"), world.conclude(run="r2")):
            assert (ended.code, says in ended.message) == (3, True)
    world.store.put(key, canonical(live))
    world.check_serving(digest, 1)


def test_a_service_that_lockgate_has_not_made_is_left_alone(world: World) -> None:
    kubectl("create", "service", "clusterip", MODEL, "--tcp=80:80")
    ended = world.deploy(world.bundle(replicas=1, max_replicas=1), run="r1")
    assert ended.code == 4
    assert f"Service {MODEL}" in ended.message
    assert "selector" in world.users()["spec"]
    assert world.users()["spec"]["selector"] == {"app": MODEL}


@pytest.mark.parametrize("program", ["deploy", "promote", "conclude"])
def test_a_program_killed_at_any_change_is_made_good_by_whoever_comes_next(world: World, program: str) -> None:
    """The same program again, or only conclude, repairs it; users always reach one verified version."""
    first = world.bundle(replicas=1, max_replicas=2)
    world.release(first, run="first")
    live, generation, number, reached = first, 1, 1, True
    while reached:
        for after in ("", "+"):
            run, candidate = f"{program}-{number}{after}", world.bundle(replicas=1, max_replicas=2)
            kills = {program: f"{number}{after}"}
            ended = world.deploy(candidate, run=run, kill=kills.get("deploy", ""))
            if program == "promote":
                ended = world.promote(candidate, run=run, kill=kills["promote"])
            if program == "conclude":
                ended = world.conclude(run=run, status="Failed", kill=kills["conclude"])
            reached = ended.code == 137
            assert reached or ended.code == 0, ended.log
            selected = world.users()["spec"]["selector"]["lockgate.io/bundle"]
            assert selected in (live[7:19], candidate[7:19] if program == "promote" else "")
            if reached and (number % 2 == 0) == (after == ""):
                again = {"deploy": world.deploy, "promote": world.promote}.get(program)
                ended = again(candidate, run=run) if again else world.conclude(run=run, status="Failed")
                assert ended.code == 0, ended.log
            ended = world.conclude(run=run, status="Failed")
            assert ended.code == 0, ended.log
            if program == "promote":
                live, generation = candidate, generation + 1
            assert world.versions() == {world.name(live)}
            world.check_serving(live, generation)
        number += 1
    assert number > {"deploy": 5, "promote": 2, "conclude": 1}[program], "too few of its changes were killed"
