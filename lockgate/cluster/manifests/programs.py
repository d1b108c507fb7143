"""What a WorkflowTemplate may contain, and which templates get a signing key, an account or the store's credentials.

A template with a key, the platform's account or the store's credentials is one that `lockgate render` wrote: the policy
holds its content, and every field and value must be the same. Any other template has none of these, and only fields
that can take none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lockgate_step import layout

from lockgate.cluster.manifests.accounts import EXECUTOR, PLATFORM, SERVER
from lockgate.cluster.manifests.exactly import listed, literal, rendered, same_spec, same_template
from lockgate.cluster.manifests.objects import AS_RENDERED
from lockgate.cluster.manifests.overlays import OVERLAY_OF_SPEC, OVERLAY_OF_TEMPLATE
from lockgate.cluster.manifests.settings import Settings
from lockgate.definition.project import Project
from lockgate.images.pins import UNBUILT
from lockgate.rendering.current import images_of, templates_of
from lockgate.rendering.manifest import SECURE_EXECUTOR

_SPEC = (
    "activeDeadlineSeconds", "arguments", "automountServiceAccountToken", "entrypoint", "executor", "onExit",
    "parallelism", "podGC", "podSpecPatch", "securityContext", "serviceAccountName", "templates", "ttlStrategy",
    "volumes",
)  # fmt: skip
_TEMPLATE = (
    "activeDeadlineSeconds", "container", "dag", "inputs", "metadata", "name", "outputs", "retryStrategy",
    "serviceAccountName", "suspend",
)  # fmt: skip
_CONTAINER = (
    "args", "command", "env", "image", "imagePullPolicy", "name", "resources", "securityContext",
    "terminationMessagePath", "volumeMounts",
)  # fmt: skip
_PARAMETER = ("default", "description", "enum", "name", "value")
# Labels by which Argo, network policies and the Services of models choose pods.
_OWN_LABELS = r"^([^/]*\\.)?(kubernetes\\.io|lockgate\\.io|argoproj\\.io)/"
_OWN_KEYS = "lockgate/{{workflow.namespace}}/{{workflow.uid}}/"
# A path of one name, so that it cannot leave its folder.
_NAME = "[A-Za-z0-9_-][A-Za-z0-9._-]*"


@dataclass(frozen=True)
class Pins:
    """What is current in a project.

    images: program of Lockgate -> its image by digest, if it was built.
    templates: model -> its WorkflowTemplates whose images were all built, as rendered.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Project) -> "Pins":
        """Return the pins of a project. Errors: SpecError if an image has no digest."""
        every = templates_of(project).items()
        return cls(images_of(project), {model: [each for each in found if _is_built(each)] for model, found in every})

    @property
    def names(self) -> list[str]:
        """The names of the WorkflowTemplates."""
        return [name for found in self.templates.values() for name in map(_name, found)]


def _is_built(template: Mapping[str, Any]) -> bool:
    return not any(t.get("container", {}).get("image", "").endswith(UNBUILT) for t in template["spec"]["templates"])


def _name(template: Mapping[str, Any]) -> str:
    return str(template["metadata"]["name"])


@dataclass(frozen=True)
class Rendered:
    """The policy of the WorkflowTemplates of one model: they are, field by field, what `lockgate render` wrote.

    The templates that `argo submit` sends with a run are compared too: the API server may not know a WorkflowTemplate
    that was applied a moment ago, but it has this policy.
    """

    templates: list[dict[str, Any]]

    @property
    def condition(self) -> str:
        """Whether a request is about one of them: it writes it, or starts a run that names it."""
        named = "object.kind == 'WorkflowTemplate' ? object.metadata.name"
        run = "oldObject == null ? object.spec.?workflowTemplateRef.?name.orValue('') : ''"
        return f"({named} : ({run})) in {listed(*map(_name, self.templates))}"

    @property
    def variables(self) -> dict[str, str]:
        """The variables of its rules: an expression is limited in length, so each WorkflowTemplate is one."""
        found = {f"rendered{number}": rendered(each) for number, each in enumerate(self.templates)}
        names = map(_name, self.templates)
        every = ", ".join(f"{literal(name)}: dyn(variables.{each})" for name, each in zip(names, found, strict=True))
        named = "object.kind == 'WorkflowTemplate' ? object.metadata.name : object.spec.workflowTemplateRef.name"
        stored = "object.kind == 'Workflow' ? object.?status.?storedTemplates.orValue({}) : {}"
        return {**found, "name": named, "wanted": f"{{{every}}}[variables.name]", "stored": stored}

    def rules(self) -> Iterator[tuple[str, str]]:
        """Yield its rules."""
        yield (
            "this WorkflowTemplate is not the rendered one; an overlay may add only where its pods run and how images"
            " are pulled: lockgate render, apply kubernetes/, then workflows/",
            f"object.kind != 'WorkflowTemplate' || ({same_spec('object.spec', 'variables.wanted')})",
        )
        template = "variables.wanted.templates[k.split('/')[2]]"
        yield (
            "a run may contain only the rendered templates of the WorkflowTemplate it names",
            "variables.stored.all(k, k.split('/').size() == 3 && k.startsWith('namespaced/' + variables.name + '/')"
            " && k.split('/')[2] in variables.wanted.templates"
            f" && ({same_template('variables.stored[k]', template)}))",
        )


def other(pins: Pins) -> str:
    """Return whether a WorkflowTemplate is not one of the rendered ones, and was not admitted before as it is."""
    return (
        f"!(object.metadata.name in {listed(*pins.names)})"
        f" && !(request.?dryRun.orValue(false) && object.metadata.name.endsWith('{AS_RENDERED}'))"
        " && (oldObject == null || !has(oldObject.spec) || object.spec != oldObject.spec)"
    )


def templates(of: str = "object") -> Iterator[tuple[str, str]]:
    """Yield the rules for a WorkflowTemplate that `lockgate render` did not write."""
    spec, names = f"{of}.spec", f"{of}.spec.?templates.orValue([])"
    containers = f"{names}.filter(t, has(t.container))"
    executor = f".?serviceAccountName.orValue('{EXECUTOR}') == '{EXECUTOR}'"
    yield (
        "keys, the platform's account and the store's credentials go only to the templates that are rendered now,"
        " with all images built; after a change: lockgate render, apply kubernetes/, and after some seconds workflows/",
        f"{spec}{executor} && {spec}.?executor{executor} && {names}.all(t, t{executor} && !has(t.volumes))"
        f" && {spec}.?volumes.orValue([]).all(v, v.all(f, f in ['configMap', 'emptyDir', 'name'])"
        f" && (!has(v.configMap) || v.configMap.name == '{layout.CONFIG_MAP}'))",
    )
    yield (
        "a WorkflowTemplate may have only the fields that Lockgate renders, and those that an overlay may add",
        f"{spec}.all(f, f in {listed(*_SPEC, *OVERLAY_OF_SPEC)})"
        f" && {names}.all(t, t.all(f, f in {listed(*_TEMPLATE, *OVERLAY_OF_TEMPLATE)}))"
        f" && {containers}.all(t, t.container.all(f, f in {listed(*_CONTAINER)}))",
    )
    yield (
        "a WorkflowTemplate may not patch its pods, or mount a token",
        f"{spec}.?automountServiceAccountToken.orValue(false) == false"
        f" && {spec}.?podSpecPatch.orValue('{SECURE_EXECUTOR}') == '{SECURE_EXECUTOR}'",
    )
    yield (
        "a task may only name a template of its own WorkflowTemplate, with files of its graph",
        f"{names}.all(t, !has(t.dag) || (t.dag.all(f, f == 'tasks') && t.dag.tasks.all(k, k.all(f, f in"
        f" {listed('arguments', 'depends', 'name', 'template')}) && k.?arguments.orValue({{}}).all(f, f =="
        " 'artifacts') && k.?arguments.?artifacts.orValue([]).all(a, a.all(f, f in ['from', 'name'])))))",
    )
    inputs, outputs = f"{layout.IO}/{layout.IN}", f"{layout.IO}/{layout.OUT}"
    parameters = f".?parameters.orValue([]).all(p, p.all(f, f in {listed(*_PARAMETER)}))"
    yield (
        f"files may come only from the run and its own text, below {inputs}; no other location or credentials",
        f"{names}.all(t, t.?inputs.orValue({{}}).all(f, f in ['artifacts', 'parameters']) && t.?inputs{parameters}"
        " && t.?inputs.?artifacts.orValue([]).all(a, a.all(f, f in ['name', 'optional', 'path', 'raw'])"
        f" && a.?path.orValue('{inputs}/a').matches('^{inputs}/{_NAME}$')))"
        f" && {spec}.?arguments.orValue({{}}).all(f, f == 'parameters') && {spec}.?arguments{parameters}",
    )
    yield (
        f"only files below {outputs} may leave a step, to the run's own place in the artifact repository",
        f"{names}.all(t, t.?outputs.orValue({{}}).all(f, f == 'artifacts')"
        " && t.?outputs.?artifacts.orValue([]).all(a, (has(t.dag) ? a.all(f, f in ['from', 'name'])"
        f" : a.all(f, f in ['archive', 'name', 'path', 's3']) && a.?path.orValue('').matches('^{outputs}/{_NAME}$')"
        f" && a.?s3.orValue({{'key': '{_OWN_KEYS}'}}).all(f, f == 'key')"
        f" && a.?s3.?key.orValue('{_OWN_KEYS}').startsWith('{_OWN_KEYS}'))))",
    )
    yield (
        "a step has environment variables with values only, its volumes below /lockgate, and labels that choose no pod"
        " of Lockgate",
        f"{containers}.all(t, t.container.?env.orValue([]).all(e, !has(e.valueFrom))"
        f" && t.container.?volumeMounts.orValue([]).all(m, m.all(f, f in ['mountPath', 'name', 'readOnly'])"
        f" && m.mountPath == '{layout.IO}/' + m.name)) && {names}.all(t, t.?metadata.orValue({{}}).all(f, f =="
        f" 'labels') && t.?metadata.?labels.orValue({{}}).all(k, !k.matches('{_OWN_LABELS}')))",
    )


def current(pins: Pins) -> Iterator[tuple[str, str]]:
    """Yield the rule that a run names a template as it is rendered now, or one that has nothing to protect.

    An earlier one stays on the cluster while runs use it, with the policy and the spec of its time. So does one that
    was applied before the policies.
    """
    bare = " && ".join(f"({expression})" for _, expression in templates("params"))
    yield (
        "this WorkflowTemplate is not current: lockgate render, apply kubernetes/ and workflows/, and submit again",
        "object.spec.?workflowTemplateRef.?name.orValue('') != params.metadata.name"
        f" || params.metadata.name in {listed(*pins.names)} || ({bare})",
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

    def same(containers: str) -> str:
        old = f"oldObject.spec.{containers}.exists(o, o.name == c.name && o.image == c.image)"
        return f"object.spec.{containers}.all(c, {old})"

    def kept(one: str, other: str) -> str:
        labels = f"{other}.metadata.?labels.orValue({{}})"
        return (
            f"{one}.metadata.?labels.orValue({{}}).all(k, k.startsWith('workflows.argoproj.io/')"
            f" || {labels}[?k].orValue('') == {one}.metadata.labels[k])"
        )

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
        f"!variables.sensitive || oldObject == null || ({same('containers')} && {same('?initContainers.orValue([])')})",
    )
    yield (
        "the labels of such a pod may not change, except Argo's: network policies choose it by them",
        f"!variables.sensitive || oldObject == null || {kept('object', 'oldObject')} && {kept('oldObject', 'object')}",
    )
    yield (
        "a pod of a run may not have the label of a served version",
        f"request.userInfo.username != '{settings.controller_user}'"
        f" || !('{layout.BUNDLE}' in object.metadata.?labels.orValue({{}}))",
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
