"""Whose objects they are: a project changes only its own, and the platform's account only what serves a model.

A Role cannot name the objects of a version, whose names contain the digest of its bundle, and no Role can name what is
created. So the Role allows the kinds, and these rules name the objects.
"""

from collections.abc import Iterable, Iterator

from lockgate_step import layout

from lockgate.cluster.manifests.exactly import listed
from lockgate.cluster.manifests.settings import Settings
from lockgate.rendering.labels import COMPONENT, MANAGED_BY, NAME

PROJECT = "project"  # the name of the policy below

# What `kubectl apply` of a project writes.
GROUPS = ["", "rbac.authorization.k8s.io", "networking.k8s.io", "argoproj.io", "monitoring.coreos.com"]
RESOURCES = [
    "configmaps", "cronworkflows", "limitranges", "namespaces", "networkpolicies", "podmonitors", "prometheusrules",
    "resourcequotas", "rolebindings", "roles", "secrets", "serviceaccounts", "workfloweventbindings",
    "workflowtemplates",
]  # fmt: skip


def _label(of: str, name: str) -> str:
    return f"{of}.metadata.?labels[?'{name}'].orValue('')"


def project(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the rules that keep a project's objects from another project's apply."""
    new, old = _label("object", layout.PROJECT), _label("oldObject", layout.PROJECT)
    ours = f"['', '{settings.owner}']"
    # The namespace itself may get its label by this request, and a namespace of another project is not ours to judge.
    theirs = (
        f"(object.kind == 'Namespace' ? oldObject != null && !({old} in {ours})"
        f" : namespaceObject != null && !({_label('namespaceObject', layout.PROJECT)} in {ours}))"
    )
    yield (
        f"the namespace {settings.namespace} belongs to the project {settings.owner}; use another namespace",
        f"{theirs} || {new} in {ours}",
    )
    yield (
        f"this object belongs to the project {settings.owner}, and must keep its label {layout.PROJECT}",
        f"{theirs} || oldObject == null || {old} == '' || {new} == {old}",
    )


def _serves(of: str) -> str:
    """Return whether an object serves a model, and has the name of a version or of the model's users' Service."""
    name, bundle = _label(of, NAME), _label(of, layout.BUNDLE)
    return (
        f"({_label(of, MANAGED_BY)} == 'lockgate' && {_label(of, COMPONENT)} == 'model-server'"
        f" && {name} != '' && {of}.metadata.name == {name} + ({bundle} == '' ? '' : '-' + {bundle}))"
    )


def served(models: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the rules for what the platform's account creates and changes."""
    yield (
        "the platform may change only the objects of a model's versions, and the Service of its users",
        f"{_serves('object')} && (oldObject == null || {_serves('oldObject')})",
    )
    yield (
        "the platform may serve only the models of this project; after a new model: lockgate render, apply kubernetes/",
        f"{_label('object', NAME)} in {listed(*models)}",
    )


def removed() -> Iterator[tuple[str, str]]:
    """Yield the rule for what the platform's account deletes."""
    yield "the platform may delete only the versions of a model", _serves("oldObject")
