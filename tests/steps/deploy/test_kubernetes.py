"""A version's objects, routing of users, and the meaning of pods' states; tests/cluster uses a real cluster."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from lockgate_delivery import objects, pods
from lockgate_delivery.objects import Object, Version
from lockgate_delivery.pods import Rollout
from lockgate_delivery.pointers import Live
from lockgate_proof import Promotion, Statement, verify_bundle
from lockgate_step import OutsideFailed, Refusal, Serving, canonical, file_digest, sha256

from tests.steps.version_bench import Bench, spec_of

BUNDLE = sha256(b"the bundle")
IMAGE = f"registry.example.org/lockgate/model-server@{sha256(b'server')}"
BRINGER = f"registry.example.org/lockgate/deploy@{sha256(b'deploy')}"
SERVING: dict[str, Any] = {"replicas": 2, "max_replicas": 4, "cpu": "500m", "memory": "1Gi"}
SERVED = Serving(**SERVING)
VERSION = Version("adult-income", BUNDLE, IMAGE, BRINGER, SERVED, "protected-a")
DEPLOYMENT = objects.deployment(VERSION, lease="then", replicas=3)
POD = DEPLOYMENT["spec"]["template"]["spec"]


def live(generation: int) -> Live:
    bundle, run, signed = sha256(f"bundle {generation}".encode()), f"r{generation}", sha256(bytes(generation))
    statement = Statement({}, "promotion", {}, signed)
    return Live.of(Promotion("m", bundle, generation, None, None, {}, run, "then", statement, {}))


def judged_in(bench: Bench, image: object, **spec: Any) -> Version:
    """Return the version of a bundle that was judged in this image."""
    bench.spec.write_bytes(canonical(spec_of(bench.model, **spec)))

    def alter(bench: Bench, folder: Path, subjects: dict[str, str]) -> None:
        from lockgate_proof import sign

        answered = {name: subjects.get(name, sha256(b"test")) for name in ("model", "data", "base", "test")}
        answered["golden"] = file_digest(folder / "golden.json")
        said = {"model": bench.model, "program": {"image": image}}
        (folder / "answers.json").write_bytes(canonical(sign("answers", answered, said, bench.keys["predict"])))

    folder = bench.bundle(alter=alter)
    return Version.of(verify_bundle(folder, bench.trust, now=None), BRINGER)


def test_a_version_is_served_by_the_image_that_was_judged(bench: Bench) -> None:
    version = judged_in(bench, IMAGE, serving=SERVING)
    (server,) = objects.deployment(version, lease="", replicas=2)["spec"]["template"]["spec"]["containers"]
    assert server["image"] == IMAGE
    assert version.name == f"{bench.model}-{version.bundle[7:19]}"


@pytest.mark.parametrize("image", ["", "lockgate/model-server:unbuilt", "x@sha256:12", "two words@" + sha256(b"")])
def test_a_bundle_not_judged_in_an_image_by_digest_is_refused(bench: Bench, image: str) -> None:
    with pytest.raises(Refusal, match="not in a reference by digest"):
        judged_in(bench, image, serving=SERVING)


def test_a_bundle_without_serving_is_refused(bench: Bench) -> None:
    with pytest.raises(Refusal, match="has no `serving`"):
        judged_in(bench, IMAGE)


def test_pods_are_admitted_at_level_restricted_with_a_read_only_root() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
    assert POD["serviceAccountName"] == "lockgate-model-server"
    for container in (*POD["initContainers"], *POD["containers"]):
        security = container["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert container["command"][0] == "python", "no shell"
        assert container["resources"]["limits"]["memory"] == SERVING["memory"]
    assert all("sizeLimit" in volume["emptyDir"] for volume in POD["volumes"] if "emptyDir" in volume)


def test_the_server_sees_no_credentials_and_cannot_change_its_bundle() -> None:
    (bring,), (serve,) = POD["initContainers"], POD["containers"]
    seen = {mount["name"]: mount.get("readOnly", False) for mount in serve["volumeMounts"]}
    assert seen == {"bundle": True, "environment": True, "tmp": False}
    assert "credentials" in {mount["name"] for mount in bring["volumeMounts"]}
    assert bring["image"] == BRINGER


def test_the_server_answers_to_the_names_of_its_services_and_no_others() -> None:
    (serve,) = POD["containers"]
    names = {variable["name"]: variable for variable in serve["env"]}
    assert names["LOCKGATE_NAMESPACE"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    value = names["LOCKGATE_HOSTS"]["value"].replace("$(LOCKGATE_NAMESPACE)", "ns")
    assert {VERSION.model, VERSION.name, ".ns.svc", ".ns.svc.cluster.local"} <= set(value.split())
    assert not set(value.split()) & {"", ".", ".svc", ".local", ".cluster.local"}


def test_a_pod_shows_its_metrics_on_a_port_that_no_service_leads_to() -> None:
    (serve,) = POD["containers"]
    assert {port["name"]: port["containerPort"] for port in serve["ports"]} == {"http": 8080, "metrics": 9090}
    # An option would stop a server in an earlier image, in which a bundle that is restored was judged.
    assert not any("metrics" in argument for argument in serve["args"])
    variables = {variable["name"]: variable.get("value") for variable in serve["env"]}
    assert variables["LOCKGATE_METRICS_PORT"] == "9090"
    owned = objects.owned(VERSION, {**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], "uid": "u1"}})
    for service in (objects.users_service(live(1), "m"), *(each for each in owned if each["kind"] == "Service")):
        assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(8080, "http")]


def test_a_pod_answers_until_it_gets_no_more_requests_and_then_ends() -> None:
    (serve,) = POD["containers"]
    unasked = serve["lifecycle"]["preStop"]["sleep"]["seconds"]
    linger = int(serve["args"][serve["args"].index("--linger") + 1])
    assert unasked + linger + 8 < POD["terminationGracePeriodSeconds"], "8: the limits in the server's graceful.py"
    assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_what_a_version_owns_goes_with_its_deployment_and_selects_its_pods_alone() -> None:
    made = {**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], "uid": "u1"}}
    found = {each["kind"]: each for each in objects.owned(VERSION, made)}
    assert list(found) == ["Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"]
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    for each in found.values():
        assert [owner["uid"] for owner in each["metadata"]["ownerReferences"]] == ["u1"]
        assert each["metadata"]["name"] == VERSION.name
    assert found["Service"]["spec"]["clusterIP"] == "None"
    assert found["Service"]["spec"]["selector"].items() <= labels.items()
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    scaled = found["HorizontalPodAutoscaler"]["spec"]
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (2, 4)
    fixed = Version("m", BUNDLE, IMAGE, BRINGER, Serving(**{**SERVING, "max_replicas": 2}), "unclassified")
    assert "HorizontalPodAutoscaler" not in {each["kind"] for each in objects.owned(fixed, made)}


def test_no_two_versions_of_a_model_share_a_pod() -> None:
    one, other = (objects.pods_of("m", sha256(text)) for text in (b"one", b"other"))
    assert one != other
    assert (
        one.items()
        <= objects.deployment(Version("m", sha256(b"one"), IMAGE, BRINGER, SERVED, "x"), lease="", replicas=1)["spec"][
            "template"
        ]["metadata"]["labels"].items()
    )


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_users_only_move_forward_in_any_order(order: tuple[int, ...]) -> None:
    service = {**objects.users_service(live(1), "m")}
    service["metadata"]["resourceVersion"] = "10"
    seen = [1]
    for generation in order:
        before = objects.selected(service)
        wanted = objects.moved(service, live(generation), "m")
        if wanted is None:
            assert objects.selected(service) == before
            continue
        assert wanted["metadata"].pop("resourceVersion") == "10", "conditional on the version that was read"
        service = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": "10"}}
        seen.append(objects.generation_of(service))
    assert seen == sorted(set(seen))
    assert seen[-1] == 3
    assert objects.selected(service) == objects.short(live(3).bundle or "")


def rollout(*said: Object, **deployment: Any) -> Rollout:
    status = {"observedGeneration": 7, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    made = {"metadata": {"name": "m-1", "generation": 7}, "spec": {"replicas": 2}, "status": status, **deployment}
    return Rollout(made, said)


def pod(name: str, *, ready: str = "True", ends: bool = False, **status: Any) -> Object:
    metadata = {"name": name, **({"deletionTimestamp": "now"} if ends else {})}
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}], **status}}


def test_a_rollout_is_complete_when_each_pod_of_the_newest_kind_is_ready() -> None:
    both = (pod("a"), pod("b"))
    assert rollout(*both).complete
    assert not rollout(pod("a"), pod("b", ready="False")).complete
    assert not rollout(pod("a"), pod("b", ends=True)).complete
    for changed in ({"observedGeneration": 6}, {"updatedReplicas": 1}, {"replicas": 3}, {"availableReplicas": 0}):
        status = {"observedGeneration": 7, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, **changed}
        assert not rollout(*both, status=status).complete
    assert not rollout(*both, status={}).complete


def waiting(reason: str, container: str = "model-server", **last: Any) -> Object:
    status = {"name": container, "state": {"waiting": {"reason": reason, "message": "words of the kubelet"}}}
    return pod(
        "a", ready="False", containerStatuses=[{**status, **({"lastState": {"terminated": last}} if last else {})}]
    )


def ended(code: int, message: str = "", **more: Any) -> Object:
    status = {"name": "model-server", "state": {"terminated": {"exitCode": code, "message": message, **more}}}
    return pod("a", ready="False", containerStatuses=[status])


LAST = '{"event":"x"}\n' + json.dumps({"event": "error", "message": "golden.json was changed", "fix": "fetch it again"})


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (waiting("ImagePullBackOff"), OutsideFailed, "pull the image of container model-server: words of the kubelet"),
        (waiting("InvalidImageName"), OutsideFailed, "cannot pull the image"),
        (waiting("CreateContainerConfigError"), OutsideFailed, "cannot create container"),
        (waiting("CrashLoopBackOff", exitCode=1, message=LAST), OutsideFailed, "exit 1: golden.json was changed"),
        (waiting("CrashLoopBackOff", exitCode=137, message="no JSON"), OutsideFailed, "does not start: exit 137"),
        (waiting("CrashLoopBackOff", exitCode=3, message=LAST), Refusal, "refuses the bundle: golden.json was changed"),
        (ended(3, LAST), Refusal, "container model-server refuses the bundle"),
        (ended(137, reason="OOMKilled"), OutsideFailed, "more memory"),
    ],
)
def test_a_pod_that_will_not_come_up_says_why_and_what_next(said: Object, kind: type, words: str) -> None:
    problem = rollout(said).problem()
    assert type(problem) is kind
    assert problem is not None
    assert words in problem.message
    assert problem.fix


@pytest.mark.parametrize(
    "said",
    [
        waiting("ContainerCreating"),
        waiting("ErrImagePull"),
        waiting("PodInitializing"),
        ended(1, LAST),
        ended(0),
        pod("a"),
        {**waiting("ImagePullBackOff"), "metadata": {"name": "a", "deletionTimestamp": "now"}},
    ],
)
def test_a_pod_that_may_still_come_up_is_waited_for(said: Object) -> None:
    assert rollout(said).problem() is None


def test_pods_that_are_not_admitted_or_scheduled_are_reported() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    problem = rollout(status={"conditions": [refused]}).problem()
    assert isinstance(problem, OutsideFailed)
    assert "exceeded quota" in problem.message
    unplaced = {"type": "PodScheduled", "status": "False", "message": "Insufficient memory"}
    assert "Insufficient memory" in rollout({"metadata": {"name": "a"}, "status": {"conditions": [unplaced]}}).awaited()


def test_only_pods_that_are_ready_are_asked() -> None:
    def endpoint(name: str, **conditions: bool) -> Object:
        return {"targetRef": {"name": name}, "conditions": conditions}

    slices: list[Object] = [
        {"endpoints": [endpoint("a", ready=True), endpoint("b", ready=False, serving=True)]},
        {"endpoints": None},
        {"endpoints": [endpoint("c"), {"addresses": ["10.0.0.9"]}]},
    ]
    assert pods.asked(slices) == {"a", "c"}


def test_the_users_service_remembers_the_promotion_that_it_follows() -> None:
    service = objects.users_service(live(3), "m")
    promoted = live(3).promotion
    assert promoted is not None
    assert objects.accepted_by(service) == promoted.accepted
    del service["metadata"]["annotations"]["lockgate.io/promotion"]
    assert objects.accepted_by(service) is None
