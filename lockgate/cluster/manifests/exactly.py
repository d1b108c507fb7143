"""Exact comparison in CEL: what is applied with what `lockgate render` wrote, but for what an overlay may add."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lockgate_step import canonical

from lockgate.cluster.manifests.overlays import OVERLAY_OF_CONTAINER, OVERLAY_OF_SPEC, OVERLAY_OF_TEMPLATE

Manifest = Mapping[str, Any]


def listed(*names: str) -> str:
    """Return a list of names in CEL."""
    return "[" + ", ".join(map(literal, names)) + "]"


def literal(value: object) -> str:
    """Return a value as a literal of CEL."""
    if isinstance(value, Mapping):
        each = _alike(list(value.values()))
        return "{" + ", ".join(f"{literal(key)}: {text}" for key, text in zip(value, each, strict=True)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_alike(value)) + "]"
    return canonical(value).decode().strip()  # CEL reads the texts, numbers and truth values of JSON


def _alike(values: Sequence[object]) -> list[str]:
    """Return the literals of a list's or map's values; Kubernetes wants all of them to have one type."""
    texts = all(isinstance(value, str) for value in values)
    return [literal(value) if texts else f"dyn({literal(value)})" for value in values]


def same(found: str, wanted: str, free: Iterable[str] = ()) -> str:
    """Return whether two maps have the same fields with the same values, but for the free fields."""
    names = listed(*free)
    return (
        f"{found}.all(f, f in {names} || (f in {wanted} && {found}[f] == {wanted}[f]))"
        f" && {wanted}.all(f, f in {names} || f in {found})"
    )


def rendered(document: Manifest) -> str:
    """Return the literal with which `same_spec` and `same_template` compare: the spec, its templates by name.

    The text of a raw artifact is left out: the program compares it with its digest, which is in its environment.
    """
    spec = dict(document["spec"])
    return literal({**spec, "templates": {each["name"]: _short(each) for each in spec["templates"]}})


def _short(template: Manifest) -> Manifest:
    artifacts = [{**a, "raw": {"data": ""}} if "raw" in a else a for a in template["inputs"].get("artifacts", ())]
    return {**template, "inputs": {"artifacts": artifacts}} if artifacts else template


def same_spec(found: str, wanted: str) -> str:
    """Return whether the spec of a WorkflowTemplate is the rendered one."""
    return (
        f"{same(found, wanted, (*OVERLAY_OF_SPEC, 'templates'))}"
        f" && {found}.templates.size() == {wanted}.templates.size()"
        f" && {found}.templates.all(t, t.name in {wanted}.templates"
        f" && ({same_template('t', f'{wanted}.templates[t.name]')}))"
        f" && {wanted}.templates.all(n, {found}.templates.exists_one(t, t.name == n))"
    )


def same_template(found: str, wanted: str) -> str:
    """Return whether a template is the rendered one."""
    return (
        f"{same(found, wanted, (*OVERLAY_OF_TEMPLATE, 'container', 'inputs'))}"
        f" && ('container' in {found}) == ('container' in {wanted}) && (!('container' in {found})"
        f" || ({same(f'{found}.container', f'{wanted}.container', OVERLAY_OF_CONTAINER)}))"
        f" && {found}.?inputs.orValue({{}}).all(f, f == 'artifacts') && {_files(found)} == {_files(wanted)}"
    )


def _files(template: str) -> str:
    text = "a.all(f, f in ['name', 'path', 'raw']) && a.raw.all(f, f == 'data')"
    return (
        f"{template}.?inputs.?artifacts.orValue([]).map(a,"
        f" has(a.raw) && {text} ? dyn({{'text': dyn(a.name), 'path': dyn(a.path)}}) : dyn(a))"
    )
