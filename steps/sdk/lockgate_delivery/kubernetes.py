"""Platform `kubernetes`: each program reconciles the cluster with the store's pointers, one pass at a time.

A pass may be killed at any point, and the next one continues: it reads the present state, and each write is either
idempotent (server-side apply) or conditional on the version that was read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from lockgate_proof import Accepted, Traffic, Trust, VerifiedBundle, verify_bundle
from lockgate_step import BadCall, LockgateError, OutsideFailed, Refusal, layout, log
from lockgate_store import Store

from lockgate_delivery import objects, pods
from lockgate_delivery.cluster import Cluster, Conflict, Unreachable
from lockgate_delivery.objects import Object, Version
from lockgate_delivery.platform import NotYet, Staged, until
from lockgate_delivery.pods import Rollout
from lockgate_delivery.pointers import Lease, Live, Pointers
from lockgate_delivery.pull import pull

_POLL_SECONDS = 0.5
Found = TypeVar("Found")


@dataclass(frozen=True)
class Seen:
    """What one pass found.

    live: the live version, if it is in the cluster.
    asked: the names of the pods that receive user requests.
    awaited: what another pass must still do; empty when the cluster matches the pointers.
    problem: why the live version cannot be restored.
    """

    live: Rollout | None
    asked: frozenset[str]
    awaited: str
    problem: LockgateError | None


@dataclass(frozen=True)
class Kubernetes:
    """One namespace, and the store whose bundles its pods serve.

    bringer: this program's own image, with which each pod downloads its bundle.
    """

    cluster: Cluster
    store: Store
    bringer: str

    compares = False  # a Gateway forgets the answers to copies

    def __post_init__(self) -> None:
        if not objects.by_digest(self.bringer):
            msg = f"this program's own image is {self.bringer or 'not set'}, not a reference by digest"
            raise BadCall(msg, fix="lockgate images build, lockgate render, and submit the workflow again")

    def accepted(self, model: str) -> Accepted | None:
        """See Platform; the users' Service names it, and whoever can write the store cannot change a Service."""
        service = self.cluster.get("Service", model)
        return objects.accepted_by(service) if service else None

    def has_ended(self, run: str) -> bool:
        """See Platform; Argo runs no exit handler for a run that is terminated or deleted."""
        workflow = self.cluster.get("Workflow", run)
        return workflow is None or workflow.get("status", {}).get("phase") in ("Succeeded", "Failed", "Error")

    def until_staged(self, pointers: Pointers, proven: VerifiedBundle, lease: Lease, wait: float) -> Staged:
        """See Platform; what earlier runs left is deleted first, since it may hold resources that this run needs."""
        version = Version.of(proven, self.bringer)

        def look() -> Staged:
            rollout = self._rollout(version.model, version.bundle)
            if rollout is None or rollout.lease != lease.at:
                seen = self._pass(pointers)
                # As many pods as serve now: with fewer, the new version could fail under the present load.
                serving = seen.live.replicas if seen.live else 0
                self._apply(version, lease.at, min(serving, version.serving.max_replicas))
                raise NotYet
            if problem := rollout.problem():
                log("model-server-failed", problem=problem.message)
                raise problem
            if not rollout.complete:
                raise NotYet(rollout.awaited())
            return Staged(version.address(self.cluster.namespace), rollout.replicas)

        return self._until(look, wait, f"{pointers.model}'s new version is not ready")

    def until_live(self, pointers: Pointers, live: Live, wait: float) -> None:
        """See Platform; each pod of the version is ready, and users reach these pods and no other."""

        def look() -> None:
            seen = self._pass(pointers)
            if seen.problem:
                raise seen.problem
            if seen.live is None or not seen.live.complete:
                problem = seen.live.problem() if seen.live else None
                raise NotYet(problem or seen.awaited or (seen.live.awaited() if seen.live else ""))
            if seen.awaited or seen.asked != seen.live.ready:
                raise NotYet(seen.awaited or "the users' Service does not route to each of its pods yet")

        self._until(look, wait, f"live is {live.bundle}, but the cluster does not serve only this bundle yet")

    def until_tidy(self, pointers: Pointers, wait: float) -> None:
        """See Platform."""

        def look() -> None:
            seen = self._pass(pointers)
            if seen.problem:
                raise seen.problem
            if seen.awaited:
                raise NotYet(seen.awaited)

        self._until(look, wait, f"the cluster does not follow {pointers.model}'s pointers yet")

    def until_shared(self, pointers: Pointers, traffic: Traffic | None, wait: float) -> None:
        """See Platform; a Service cannot divide requests."""
        if traffic is not None:
            msg = f"the platform kubernetes sends all requests of {pointers.model} to one version"
            raise Refusal(
                msg, fix="write rollout=AllAtOnce() in the spec, or roll out with lockgate run on one machine"
            )

    def readings(self, pointers: Pointers, bundle: str) -> Mapping[str, str]:
        """See Platform; each ready pod of the version is asked."""
        return {}

    def _pass(self, pointers: Pointers) -> Seen:
        """Reconcile the cluster with the pointers as far as possible now.

        Errors: OutsideFailed when the users' Service has a later generation than live in the store.
        """
        model = pointers.model
        # In this order: a version is created after its lease is taken, and the lease is released after live has moved.
        # So a version listed here that no pointer below names is not needed, or its next attempt changes it first.
        versions = self.cluster.list("Deployment", objects.labels_of(model))
        lease, live = pointers.lease(), pointers.live()
        service = self.cluster.get("Service", model)
        asked = pods.asked(self.cluster.list("EndpointSlice", {"kubernetes.io/service-name": model}))
        all_pods = self.cluster.list("Pod", objects.labels_of(model))
        _check_service(service, live, model)

        rollout = _find(versions, all_pods, live.bundle) if live.bundle else None
        awaited, problem = "", None
        if live.bundle and (rollout is None or not rollout.lease):
            awaited, problem = "the version is being restored from the store", self._bring_back(pointers, live)
        elif live.bundle and rollout:
            awaited = self._send_users(model, live, service, rollout)
        served = {objects.bundle_of(pod) for pod in all_pods if pods.name_of(pod) in asked}
        if live.bundle and served - {objects.short(live.bundle)}:
            awaited = awaited or "users still reach another version"

        needed = {objects.selected(service), *served, *map(objects.short, filter(None, [live.bundle]))}
        if lease and not lease.expired:
            needed.add(objects.short(lease.bundle))
        for version in versions:
            if objects.bundle_of(version) not in needed:
                self.cluster.delete("Deployment", version)
                log("removed", version=pods.name_of(version))
        return Seen(rollout, asked, awaited, problem)

    def _send_users(self, model: str, live: Live, service: Object | None, rollout: Rollout) -> str:
        """Route users to the live version once it is ready; return what is still missing."""
        if service is None:
            self.cluster.create(objects.users_service(live, model))
            return "the users' Service has just been created"
        wanted = objects.moved(service, live, model)
        if wanted is None:
            return ""
        if not rollout.complete:
            return rollout.awaited()
        self.cluster.apply(wanted)
        log("users-sent", model=model, bundle=live.bundle, generation=live.generation)
        return "the users' Service has just been moved to it"

    def _bring_back(self, pointers: Pointers, live: Live) -> LockgateError | None:
        """Create the live version again from the bundle in the store, after it was deleted."""
        assert live.bundle is not None
        try:
            with TemporaryDirectory() as scratch:
                folder = Path(scratch, "bundle")
                pull(self.store, pointers.model, live.bundle, folder)
                proven = verify_bundle(folder, Trust.read(), now=None, model=pointers.model, digest=live.bundle)
                self._apply(Version.of(proven, self.bringer), live.at, 0)
        except LockgateError as problem:
            # Another version must be able to replace one that cannot be served, so the pass continues.
            log("not-brought-back", model=pointers.model, bundle=live.bundle, problem=problem.message, fix=problem.fix)
            return problem
        log("brought-back", model=pointers.model, bundle=live.bundle)
        return None

    def _apply(self, version: Version, lease: str, serving: int) -> None:
        """Create or update a version. The Deployment is annotated with the lease once all its objects exist."""
        replicas = max(serving, version.serving.replicas)
        made = self.cluster.apply(objects.deployment(version, lease="", replicas=replicas))
        for each in objects.owned(version, made):
            self.cluster.apply(each)
        self.cluster.apply(objects.deployment(version, lease=lease, replicas=replicas))

    def _rollout(self, model: str, bundle: str) -> Rollout | None:
        found = self.cluster.list("Deployment", objects.pods_of(model, bundle))
        return _find(found, self.cluster.list("Pod", objects.pods_of(model, bundle)), bundle)

    def _until(self, look: Callable[[], Found], wait: float, what: str) -> Found:
        def patient() -> Found:
            try:
                return look()
            except (Conflict, Unreachable) as error:  # another run wrote, or the API server restarts
                raise NotYet(error) from None

        fix = f"kubectl -n {self.cluster.namespace} get deployments,pods,events, then run again"
        return until(patient, wait, every=_POLL_SECONDS, what=what, fix=fix)


def _find(versions: Sequence[Object], all_pods: Sequence[Object], bundle: str) -> Rollout | None:
    """Find a bundle's version among those that were read. Errors: OutsideFailed when another bundle has its name."""
    digits = objects.short(bundle)
    found = next((version for version in versions if objects.bundle_of(version) == digits), None)
    if found is None:
        return None
    if (named := objects.annotation(found, layout.BUNDLE)) != bundle:
        msg = f"Deployment {pods.name_of(found)} serves {named}, not {bundle}"
        raise OutsideFailed(msg, fix=f"kubectl delete deployment {pods.name_of(found)}, unless it is live")
    return Rollout(found, [pod for pod in all_pods if objects.bundle_of(pod) == digits])


def _check_service(service: Object | None, live: Live, model: str) -> None:
    if service is None:
        return
    if service["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") != "lockgate":
        msg = f"Service {model} exists, but Lockgate did not create it"
        raise OutsideFailed(msg, fix=f"delete or rename it: Lockgate needs this name for the users of {model}")
    if (ahead := objects.generation_of(service)) > live.generation:
        msg = f"users of {model} reach generation {ahead}, but live in the store is at generation {live.generation}"
        raise OutsideFailed(
            msg, fix="restore live.json from the history in the store; the present version keeps serving until then"
        )
