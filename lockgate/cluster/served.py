"""What users of a model reach on a cluster: the Service of its users and its pods, compared with what was promoted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lockgate_proof import Accepted, Promotion, ProofError, VerifiedBundle
from lockgate_step import layout

from lockgate.cluster.manifests.network import PORT
from lockgate.cluster.objects import ClusterObjects
from lockgate.rendering.labels import COMPONENT, NAME

_SERVER = "model-server"
_PORTS = [("http", PORT, "http")]


@dataclass(frozen=True)
class Users:
    """The users' Services of a namespace.

    Each remembers the promotion that it follows, as `deploy` and `promote` read it: who can write the store cannot
    change a Service.
    """

    objects: ClusterObjects

    def accepted(self, model: str) -> Accepted | None:
        """Return the promotion that the users of a model reach; None if the Service names none. Errors: NotAllowed."""
        notes = self._service(model).get("metadata", {}).get("annotations") or {}
        generation, digest = str(notes.get(layout.GENERATION, "")), notes.get(layout.PROMOTION)
        return Accepted(int(generation), str(digest)) if generation.isdecimal() and digest else None

    def forget(self, model: str) -> str:
        """Return how to accept another chain of promotions."""
        return f"after a new store: kubectl delete service -n {self.objects.settings.namespace} {model}"

    def check(self, proven: VerifiedBundle, live: Promotion) -> int:
        """Check that users reach pods of the live bundle, in the image that was judged, and no others.

        Return the number of these pods. Errors: ProofError, naming what differs; NotAllowed.
        """
        different = next(self._different(proven, live), "")
        if different:
            place = self.objects.settings.namespace
            shown = f"kubectl get service,deployment,pod -n {place} -l {NAME}={proven.model} -o yaml"
            msg = f"users of {proven.model} do not reach what was promoted: {different}"
            raise ProofError(msg, fix=f"if no run promotes now, find out who changed it: {shown}")
        return len(self._pods(proven))

    def _different(self, proven: VerifiedBundle, live: Promotion) -> Iterator[str]:
        service = self._service(proven.model)
        if not service:
            yield f"Service {proven.model} does not exist"
            return
        accepted = self.accepted(proven.model)
        if accepted != live.accepted:
            followed = accepted.generation if accepted else "none"
            yield f"their Service follows generation {followed}, not {live.generation}"
        selector, spec = service["spec"].get("selector"), service["spec"]
        if selector != _selector(proven):
            yield f"their Service selects {selector}"
        if [(p.get("name"), p.get("port"), p.get("targetPort")) for p in spec.get("ports") or ()] != _PORTS:
            yield "the ports of their Service differ"
        if spec.get("type", "ClusterIP") != "ClusterIP" or spec.get("externalIPs"):
            yield "their Service has an address outside the cluster"
        pods = self._pods(proven)
        if not pods:
            yield "no pod serves it"
        image = proven.records["predict"].predicate["program"]["image"]
        for pod in pods:
            name, containers = pod["metadata"]["name"], pod["spec"]["containers"]
            images = [c["image"] for c in (*containers, *(pod["spec"].get("ephemeralContainers") or ()))]
            if images != [image]:
                yield f"pod {name} runs {', '.join(images)}, not {image}"

    def _service(self, model: str) -> Mapping[str, Any]:
        return self.objects.find("v1", "Service", model) or {}

    def _pods(self, proven: VerifiedBundle) -> list[dict[str, Any]]:
        return self.objects.listed("v1", "Pod", _selector(proven))


def _selector(proven: VerifiedBundle) -> dict[str, str]:
    digits = proven.digest.removeprefix("sha256:")[:12]
    return {NAME: proven.model, COMPONENT: _SERVER, layout.BUNDLE: digits}
