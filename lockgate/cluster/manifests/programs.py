"""What a WorkflowTemplate may contain, and which programs get a signing key, an account or the store's credentials.

A template in this namespace has the fields that Lockgate renders and those that an overlay may add, and no others: a
hook, a sidecar or a patch could read a key. A key, the platform's account and the store's credentials go only to the
platform's own images, by digest, with the program's own command.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lockgate_step import layout

from lockgate.cluster.manifests.accounts import EXECUTOR, PLATFORM, SERVER
from lockgate.cluster.manifests.settings import Settings
from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Project
from lockgate.images.pins import built
from lockgate.rendering.current import Current
from lockgate.rendering.manifest import SECURE_EXECUTOR

# What an overlay may add to a rendered WorkflowTemplate: the nodes where its pods run, and how images are pulled.
PLACEMENT = ("affinity", "nodeSelector", "schedulerName", "tolerations")
OVERLAY_OF_SPEC = (*PLACEMENT, "imagePullSecrets", "podPriorityClassName", "priority", "suspend")
OVERLAY_OF_TEMPLATE = (*PLACEMENT, "priorityClassName")
_SPEC = (
    "activeDeadlineSeconds", "arguments", "automountServiceAccountToken", "entrypoint", "executor", "onExit",
    "parallelism", "podGC", "podSpecPatch", "securityContext", "serviceAccountName", "templates", "ttlStrategy",
    "volumes", "workflowMetadata",
)  # fmt: skip
_TEMPLATE = (
    "activeDeadlineSeconds", "container", "dag", "inputs", "metadata", "name", "outputs", "retryStrategy",
    "serviceAccountName", "suspend", "synchronization", "volumes",
)  # fmt: skip
_CONTAINER = (
    "args", "command", "env", "image", "imagePullPolicy", "name", "resources", "securityContext",
    "terminationMessagePath", "volumeMounts",
)  # fmt: skip
_ENVIRONMENT = ("LOCKGATE_IMAGE", "LOCKGATE_PINS", "LOCKGATE_RUN", "LOCKGATE_UID", "TMPDIR")


@dataclass(frozen=True)
class Pins:
    """What is current in a project.

    images: program of Lockgate -> its image by digest, if it was built. templates: the names of WorkflowTemplates.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    templates: tuple[str, ...] = ()

    @classmethod
    def of(cls, project: Project, current: Mapping[str, Current]) -> "Pins":
        """Return the pins of a project. Errors: SpecError if an image has no digest."""
        references = built(project)
        programs = Catalog.find().programs.values()
        images = {p.name: references[p.image] for p in programs if p.image in references}
        return cls(images, tuple(name for each in current.values() for name in each.templates))


def listed(*names: str) -> str:
    """Return a list of names in CEL."""
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


def _mapped(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"'{key}': '{value}'" for key, value in values.items()) + "}"


def _using(use: str) -> str:
    return listed(*(p.name for p in Catalog.find().programs.values() if use in p.contract["uses"]))


def variables(pins: Pins) -> dict[str, str]:
    """Return the variables of the rules for templates."""
    programs = Catalog.find().programs
    # A new line cannot be in a rendered argument, so it separates one from the next.
    lines = {name: "".join(f"{part}\\n" for part in (*programs[name].command, *programs[name].args))
             for name in pins.images}  # fmt: skip
    return {
        "templates": "object.spec.?templates.orValue([])",
        "containers": "variables.templates.filter(t, has(t.container))",
        "images": _mapped(pins.images),
        "lines": _mapped(lines),
        "programs": listed(*pins.images),
        "platform": _using("platform"),
        "store": _using("store"),
    }


def templates() -> Iterator[tuple[str, str]]:
    """Yield the rules for a WorkflowTemplate."""
    spec, names = "object.spec", "variables.templates"
    yield (
        "a WorkflowTemplate may have only the fields that Lockgate renders, and those that an overlay may add",
        f"{spec}.all(f, f in {listed(*_SPEC, *OVERLAY_OF_SPEC)})"
        f" && {names}.all(t, t.all(f, f in {listed(*_TEMPLATE, *OVERLAY_OF_TEMPLATE)}))"
        f" && variables.containers.all(t, t.container.all(f, f in {listed(*_CONTAINER)}))",
    )
    yield (
        "a WorkflowTemplate runs as the executor's account, and may not patch its pods",
        f"{spec}.?serviceAccountName.orValue('{EXECUTOR}') == '{EXECUTOR}'"
        f" && {spec}.?executor.?serviceAccountName.orValue('{EXECUTOR}') == '{EXECUTOR}'"
        f" && {spec}.?automountServiceAccountToken.orValue(false) == false"
        f" && {spec}.?podSpecPatch.orValue('{SECURE_EXECUTOR}') == '{SECURE_EXECUTOR}'",
    )
    yield (
        f"volumes of all steps may be only {layout.CONFIG_MAP}, the store's credentials and empty folders",
        f"{spec}.?volumes.orValue([]).all(v, has(v.emptyDir)"
        f" || (has(v.configMap) && v.configMap.name == '{layout.CONFIG_MAP}')"
        f" || (v.name == '{layout.CREDENTIALS}' && has(v.secret) && v.secret.secretName == '{layout.STORE_SECRET}'))",
    )
    yield (
        "a task may only name a template of its own WorkflowTemplate, with files of its graph",
        f"{names}.all(t, !has(t.dag) || (t.dag.all(f, f == 'tasks') && t.dag.tasks.all(k, k.all(f, f in"
        f" {listed('arguments', 'depends', 'name', 'template')}) && k.?arguments.orValue({{}}).all(f, f =="
        " 'artifacts') && k.?arguments.?artifacts.orValue([]).all(a, a.all(f, f in ['from', 'name'])))))",
    )
    yield (
        f"files may come only from the run and its own text, below {layout.IO}; no other location or credentials",
        f"{names}.all(t, t.?inputs.orValue({{}}).all(f, f in ['artifacts', 'parameters'])"
        " && t.?inputs.?artifacts.orValue([]).all(a, a.all(f, f in ['name', 'optional', 'path', 'raw'])"
        f" && a.?path.orValue('{layout.IO}/{layout.IN}/').startsWith('{layout.IO}/{layout.IN}/')"
        " && !a.?path.orValue('').contains('..'))"
        " && t.?outputs.?artifacts.orValue([]).all(a, a.all(f, f in ['archive', 'name', 'path', 's3'])"
        " && a.?s3.orValue({}).all(f, f == 'key')))"
        " && object.spec.?arguments.orValue({}).all(f, f == 'parameters')",
    )
    yield (
        "a step has environment variables with values only, its volumes below /lockgate, and labels",
        "variables.containers.all(t, t.container.?env.orValue([]).all(e, !has(e.valueFrom))"
        f" && t.container.?volumeMounts.orValue([]).all(m, m.mountPath == '{layout.IO}/' + m.name && !has(m.subPath))"
        " && t.?metadata.orValue({}).all(f, f == 'labels'))",
    )
    yield (
        "keys, the platform's account and the store's credentials go only to Lockgate's own programs, in the images"
        " that this project has pushed, by digest; after a new image: lockgate render, then apply kubernetes/ first",
        f"{names}.all(t, !({_sensitive('t')}) || (has(t.container) && variables.programs.exists(p, {_program('t')})))",
    )


def _sensitive(t: str) -> str:
    mounts = f"{t}.container.?volumeMounts.orValue([]).exists(m, m.name == '{layout.CREDENTIALS}')"
    return (
        f"{t}.?volumes.orValue([]).size() > 0 || {t}.?serviceAccountName.orValue('{EXECUTOR}') != '{EXECUTOR}'"
        f" || (has({t}.container) && {mounts})"
    )


def _program(t: str) -> str:
    """Return whether a template is the program p, with no more than the rights of p."""
    container = f"{t}.container"
    line = f"({container}.command + {container}.?args.orValue([])).map(a, a + '\\n').join('')"
    key = f"(v.name == '{layout.KEY}' && has(v.secret) && v.secret.secretName == '{layout.KEY_SECRETS}' + p)"
    token = f"(v.name == '{layout.SERVICE_ACCOUNT}' && has(v.projected) && p in variables.platform)"
    return (
        f"{container}.image == variables.images[p] && {line}.startsWith(variables.lines[p])"
        f" && {t}.?volumes.orValue([]).all(v, {key} || ({token} && v.projected.sources.all(s, !has(s.secret))))"
        f" && ({t}.?serviceAccountName.orValue('{EXECUTOR}') == '{EXECUTOR}'"
        f" || ({t}.serviceAccountName == '{PLATFORM}' && p in variables.platform))"
        f" && (p in variables.store || !{container}.?volumeMounts.orValue([]).exists(m,"
        f" m.name == '{layout.CREDENTIALS}'))"
        f" && {container}.?env.orValue([]).all(e, e.name in {listed(*_ENVIRONMENT)})"
    )


def current(pins: Pins) -> Iterator[tuple[str, str]]:
    """Yield the rule that a run names a template as it is rendered now.

    An earlier one stays on the cluster while runs use it, with the policy and the spec of its time.
    """
    label = "params.metadata.?labels[?'app.kubernetes.io/{}'].orValue('')".format
    yield (
        "this WorkflowTemplate is not current: lockgate render, apply kubernetes/ and workflows/, and submit again",
        "object.spec.?workflowTemplateRef.?name.orValue('') != params.metadata.name"
        f" || {label('part-of')} != 'lockgate' || !({label('component')} in ['release', 'review'])"
        f" || params.metadata.name in {listed(*pins.templates)}",
    )


POD = {
    "volumes": "object.spec.?volumes.orValue([])",
    "keys": (
        "object.spec.?volumes.orValue([]).filter(v, has(v.secret)"
        f" && v.secret.secretName.startsWith('{layout.KEY_SECRETS}'))"
    ),
    "containers": "object.spec.containers + object.spec.?initContainers.orValue([])",
    "sensitive": (
        f"object.spec.?serviceAccountName.orValue('') == '{PLATFORM}' || object.spec.?volumes.orValue([]).exists(v,"
        f" has(v.secret) && v.secret.secretName.startsWith('{layout.KEY_SECRETS}'))"
    ),
}


def pods(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the rules for a pod with a key or the platform's account: only what Argo makes of an admitted template."""
    mounts = f"['{layout.IO}/{layout.KEY}', '/mainctrfs{layout.IO}/{layout.KEY}']"
    yield (
        "only Argo's controller may create a pod with a signing key or the platform's account",
        "!variables.sensitive || request.operation != 'CREATE'"
        f" || request.userInfo.username == '{settings.controller_user}'",
    )
    yield (
        "a pod with a signing key or the platform's account has one program, by digest, and Argo's own containers",
        "!variables.sensitive || (object.spec.containers.all(c, c.name == 'wait' || (c.name == 'main'"
        " && c.image.matches('^[^@]+@sha256:[0-9a-f]{64}$')))"
        " && object.spec.?initContainers.orValue([]).all(c, c.name == 'init')"
        " && object.spec.?ephemeralContainers.orValue([]).size() == 0 && !object.spec.?hostNetwork.orValue(false))",
    )
    yield (
        "the images of such a pod may not change",
        "!variables.sensitive || oldObject == null || object.spec.containers.all(c, oldObject.spec.containers.exists(o,"
        " o.name == c.name && o.image == c.image))",
    )
    yield (
        f"a signing key may be mounted only at {layout.IO}/{layout.KEY}, one in a pod",
        f"variables.keys.size() <= 1 && variables.keys.all(v, v.name == '{layout.KEY}')"
        " && (variables.keys.size() == 0 || variables.containers.all(c, c.?volumeMounts.orValue([]).all(m,"
        f" m.name != '{layout.KEY}' || m.mountPath in {mounts})))",
    )
    yield (
        "a signing key may not be read by another way than its own volume",
        "variables.volumes.all(v, !has(v.projected) || v.projected.?sources.orValue([]).all(s, !has(s.secret)"
        f" || !s.secret.?name.orValue('').startsWith('{layout.KEY_SECRETS}')))"
        " && variables.containers.all(c, c.?envFrom.orValue([]).all(e, !has(e.secretRef)"
        f" || !e.secretRef.?name.orValue('').startsWith('{layout.KEY_SECRETS}'))"
        " && c.?env.orValue([]).all(e, !has(e.valueFrom) || !has(e.valueFrom.secretKeyRef)"
        f" || !e.valueFrom.secretKeyRef.?name.orValue('').startsWith('{layout.KEY_SECRETS}')))",
    )
    yield (
        f"a pod of {SERVER} has no signing key",
        f"object.spec.?serviceAccountName.orValue('') != '{SERVER}' || variables.keys.size() == 0",
    )
