"""Checks that need more than one field: names across tasks and templates, tags, expressions, cycles, volumes.

All problems are reported together, before the first step. The controller finds some of them while linting and some
while running; it never reports an argument that the template does not declare.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lockgate_step import layout

from lockgate.engine.checks.scope import called, reached, scope_of, tags_of_a_run, unknown_tags
from lockgate.engine.checks.task_checks import hook_problems, supplied, task_problems
from lockgate.engine.controller.retries import POLICIES, SAMPLE, duration
from lockgate.engine.errors import ManifestError, Problem
from lockgate.engine.expressions import ExpressionError, check, expand, parse
from lockgate.engine.manifest import Json, Template, Workflow, entries, hooks_of, text

_NAME = re.compile(r"[-a-zA-Z0-9_]+")


def verify(workflow: Workflow) -> None:
    """Refuse a workflow that cannot be executed.

    Errors: ManifestError with every problem.
    """
    problems = list(_problems(workflow))
    if problems:
        raise ManifestError(workflow.name, problems)


def _problems(workflow: Workflow) -> Iterator[Problem]:
    spec = workflow.spec
    entry = workflow.templates.get((workflow.document, str(spec.get("entrypoint"))))
    if entry is None:
        missing = "is required" if not spec.get("entrypoint") else f"there is no template {spec['entrypoint']!r}"
        yield Problem("spec.entrypoint", missing)
    else:
        yield from supplied("spec.entrypoint", spec.get("arguments") or {}, entry, extras=True)
        yield from hook_problems("spec", workflow, workflow.document, spec, tags_of_a_run(workflow))
    if spec.get("retryStrategy"):
        yield from _retry("spec.retryStrategy", spec["retryStrategy"])
    yield from _volumes("spec", entries(spec, "volumes"))
    yield from _mutexes("spec", spec)
    hooks = [called(workflow.document, hook) for hook in hooks_of(spec).values()]
    at_exit = reached(workflow, *hooks)
    for key, template in workflow.templates.items():
        known = scope_of(workflow, template)
        if key in at_exit:
            known |= {"workflow.failures"}
        yield from _fields(template)
        yield from _mutexes(template.place, template.body)
        if template.body.get("retryStrategy"):
            yield from _retry(f"{template.place}.retryStrategy", template.body["retryStrategy"])
        match template.kind:
            case "container":
                yield from _container(workflow, template, known)
            case "suspend":
                yield from _suspend(template, known)
            case _:
                yield from task_problems(workflow, template, known)
    yield from _recursion(workflow)


def _fields(template: Template) -> Iterator[Problem]:
    for side in ("inputs", "outputs"):
        for kind in ("parameters", "artifacts"):
            names = [each.get("name") for each in entries(template.body, side, kind)]
            for index, name in enumerate(names):
                if not name or not _NAME.fullmatch(name) or name in names[:index]:
                    what = f"{name!r} is not a unique name of letters, digits, - and _"
                    yield Problem(f"{template.place}.{side}.{kind}[{index}].name", what)


def _retry(place: str, strategy: Mapping[str, Any]) -> Iterator[Problem]:
    if strategy.get("retryPolicy", "Always") not in POLICIES:
        yield Problem(f"{place}.retryPolicy", f"must be one of {', '.join(POLICIES)}")
    backoff = strategy.get("backoff")
    if backoff is not None:
        if not backoff.get("duration"):
            yield Problem(f"{place}.backoff.duration", "is required")
        for field in ("duration", "maxDuration", "cap"):
            try:
                duration(text(backoff.get(field) or "0"))
            except ValueError as error:
                yield Problem(f"{place}.backoff.{field}", str(error))
    if strategy.get("expression"):
        try:
            check(parse(strategy["expression"]), expand(SAMPLE))
        except ExpressionError as error:
            yield Problem(f"{place}.expression", str(error))


def _mutexes(place: str, holder: Json) -> Iterator[Problem]:
    wanted = holder.get("synchronization") or {}
    for mutex in [*([wanted["mutex"]] if "mutex" in wanted else []), *entries(wanted, "mutexes")]:
        if not mutex.get("name"):
            yield Problem(f"{place}.synchronization", "each mutex must have a name")


def _volumes(place: str, volumes: list[Json]) -> Iterator[Problem]:
    for index, volume in enumerate(volumes):
        kinds = [kind for kind in ("configMap", "secret", "emptyDir", "projected") if volume.get(kind) is not None]
        named = (volume.get("configMap") or {}).get("name") or (volume.get("secret") or {}).get("secretName")
        if not volume.get("name") or len(kinds) != 1 or (kinds[0] in ("configMap", "secret") and not named):
            what = "must have a name and exactly one source; a ConfigMap or Secret source needs a name"
            yield Problem(f"{place}.volumes[{index}]", what)


def _below_root(path: object) -> bool:
    return isinstance(path, str) and path.startswith(f"{layout.IO}/") and ".." not in path.split("/")


def _container(workflow: Workflow, template: Template, known: set[str]) -> Iterator[Problem]:
    place, body = template.place, template.body
    container = body["container"]
    yield from _volumes(place, entries(body, "volumes"))
    for field in ("image", "command"):
        if not container.get(field):
            yield Problem(f"{place}.container.{field}", "is required; the engine does not read the image's entrypoint")
    if body.get("parallelism") is not None:
        yield Problem(f"{place}.parallelism", "is allowed only in dag and steps templates")
    volumes = {each.get("name"): each for each in [*entries(workflow.spec, "volumes"), *entries(body, "volumes")]}
    for index, mount in enumerate(entries(container, "volumeMounts")):
        here = f"{place}.container.volumeMounts[{index}]"
        if mount.get("name") not in volumes:
            yield Problem(f"{here}.name", f"there is no volume {mount.get('name')!r}")
        elif not _below_root(mount.get("mountPath")) and (
            mount.get("mountPath") != "/tmp"  # noqa: S108  # the container's; TMPDIR replaces it here
            or volumes[mount.get("name")].get("emptyDir") is None
        ):
            yield Problem(f"{here}.mountPath", f"must be below {layout.IO}; only an emptyDir may be at /tmp")
    for index, variable in enumerate(entries(container, "env")):
        if not variable.get("name"):
            yield Problem(f"{place}.container.env[{index}].name", "is required")
    paths: list[tuple[str, object]] = []
    for side in ("inputs", "outputs"):
        for index, artifact in enumerate(entries(body, side, "artifacts")):
            paths.append((f"{side}.artifacts[{index}].path", artifact.get("path")))
    for index, parameter in enumerate(entries(body, "outputs", "parameters")):
        if parameter.get("value") is None:
            source = parameter.get("valueFrom") or {}
            paths.append((f"outputs.parameters[{index}].valueFrom.path", source.get("path")))
    for field, path in paths:
        if not _below_root(path):
            yield Problem(f"{place}.{field}", f"{path!r} is not a path below {layout.IO}")
    yield from unknown_tags(place, body, known)


def _suspend(template: Template, known: set[str]) -> Iterator[Problem]:
    place, wait = f"{template.place}.suspend.duration", template.body["suspend"].get("duration")
    if wait is None:
        yield Problem(place, "is required; a local run cannot be resumed by hand")
    elif "{{" not in text(wait):
        try:
            duration(text(wait))
        except ValueError as error:
            yield Problem(place, str(error))
    if any(entries(template.body, "outputs", kind) for kind in ("parameters", "artifacts")):
        yield Problem(f"{template.place}.outputs", "cannot be supplied in a local run")
    yield from unknown_tags(template.place, template.body, known)


def _recursion(workflow: Workflow) -> Iterator[Problem]:
    for key, template in workflow.templates.items():
        callers = [caller for task in template.tasks for caller in (task, *hooks_of(task).values())]
        if any(key in reached(workflow, called(template.document, caller)) for caller in callers):
            yield Problem(template.place, f"template {template.name} calls itself, which is not executed locally")
