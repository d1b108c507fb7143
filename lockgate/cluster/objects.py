"""A cluster's objects and permissions, read from its API server."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.cluster.api import Cluster as Connection
from lockgate.cluster.api import NotThere
from lockgate.cluster.manifests.accounts import ARGO, Right
from lockgate.cluster.manifests.monitoring import GROUP as MONITORING
from lockgate.cluster.manifests.objects import AS_RENDERED
from lockgate.cluster.manifests.overlays import differences
from lockgate.cluster.manifests.settings import Settings


@dataclass(frozen=True)
class ClusterObjects:
    """A cluster, with the settings that tell where its objects are."""

    connection: Connection
    settings: Settings

    def find(self, version: str, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """Return an object as it is on the cluster, or None. By default in our namespace.

        Errors: NotAllowed, OutsideFailed.
        """
        resource, of_namespace = _resource(version, kind)
        place = {"namespace": namespace or self.settings.namespace} if of_namespace else {}
        try:
            with self.connection.asked():
                return dict(self.connection.client.get(resource, name, **place).to_dict())
        except NotThere:
            return None

    def listed(self, version: str, kind: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the objects with these labels, in our namespace or cluster-wide. Errors: NotAllowed, OutsideFailed."""
        resource, of_namespace = _resource(version, kind)
        where: dict[str, Any] = {"namespace": self.settings.namespace} if of_namespace else {}
        selected: dict[str, Any] = dict(labels)
        with self.connection.asked():
            found = self.connection.client.list(resource, labels=selected, **where)
            return [dict(each.to_dict()) for each in found]

    def different(self, wanted: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """Yield the objects that are missing on the cluster or differ, with the first field; additions count too.

        The API server says what it makes of the rendered object (a dry run): so its defaults are no differences.
        """
        for manifest in wanted:
            metadata, kind, version = manifest["metadata"], str(manifest["kind"]), str(manifest["apiVersion"])
            found = self.find(version, kind, metadata["name"], metadata.get("namespace", ""))
            if found is None:
                yield f"{kind} {metadata['name']} (missing)"
            elif changed := next(differences(manifest, self._defaulted(manifest), found), ""):
                yield f"{kind} {metadata['name']} ({changed})"

    def _defaulted(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Return an object as the API server would create it, under another name."""
        resource, of_namespace = _resource(str(manifest["apiVersion"]), str(manifest["kind"]))
        name = f"{manifest['metadata']['name'][:50].rstrip('.-')}{AS_RENDERED}"
        renamed = {**manifest, "metadata": {**manifest["metadata"], "name": name}}
        place = {"namespace": self.settings.namespace} if of_namespace else {}
        if of_namespace:
            renamed["metadata"]["namespace"] = self.settings.namespace
        with self.connection.asked():
            return dict(self.connection.client.create(resource.from_dict(renamed), dry_run=True, **place).to_dict())

    def may(self, account: str, rights: Iterable[Right]) -> Iterator[tuple[str, bool]]:
        """Yield each verb with its resource, and whether the account is allowed to use it."""
        from lightkube.models.authorization_v1 import ResourceAttributes, SubjectAccessReviewSpec
        from lightkube.models.meta_v1 import ObjectMeta
        from lightkube.resources.authorization_v1 import LocalSubjectAccessReview

        place = self.settings.namespace
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{place}", "system:authenticated"]
        for right in rights:
            for resource, verb in ((resource, verb) for resource in right.resources for verb in right.verbs):
                name, _, sub = resource.partition("/")
                attributes = ResourceAttributes(
                    group=right.group, resource=name, subresource=sub, verb=verb, namespace=place
                )
                spec = SubjectAccessReviewSpec(
                    user=self.settings.user(account), groups=groups, resourceAttributes=attributes
                )
                review = LocalSubjectAccessReview(metadata=ObjectMeta(namespace=place), spec=spec)
                with self.connection.asked():
                    answer = self.connection.client.create(review, namespace=place)
                yield f"{verb} {resource}", bool(answer.status and answer.status.allowed)


def within(wanted: Any, found: Any) -> bool:
    """Return whether `found` contains `wanted`: a server adds defaults."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(within(value, found.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        same = isinstance(found, list) and len(wanted) == len(found)
        return same and all(within(w, f) for w, f in zip(wanted, found, strict=True))
    return bool(wanted == found)


def _resource(version: str, kind: str) -> tuple[Any, bool]:
    """Return lightkube's class of a kind, and whether its objects are in a namespace."""
    from lightkube.core.resource import NamespacedResource
    from lightkube.core.resource_registry import resource_registry
    from lightkube.generic_resource import create_namespaced_resource

    group, _, number = version.partition("/")
    if group in (ARGO, MONITORING):
        create_namespaced_resource(group, number, kind, f"{kind.lower()}s")
    found = resource_registry.load(version, kind)
    return found, issubclass(found, NamespacedResource)
