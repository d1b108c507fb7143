"""What the platform's account may write: a served version and the Service of its users, field by field as rendered.

Only the numbers of pods and their resources differ between models.
"""

from collections.abc import Iterator, Mapping

from lockgate_step import layout

from lockgate.cluster.manifests.accounts import SERVER
from lockgate.cluster.manifests.exactly import listed, literal
from lockgate.cluster.manifests.network import PORT
from lockgate.rendering.labels import COMPONENT, MANAGED_BY, NAME, PART_OF

_LABELS = (
    NAME, COMPONENT, PART_OF, MANAGED_BY, layout.BUNDLE,
    "data.statcan.gc.ca/classification",
)  # fmt: skip
# With what the API server adds by default.
_POD = (
    "automountServiceAccountToken", "containers", "dnsPolicy", "enableServiceLinks", "initContainers", "restartPolicy",
    "schedulerName", "securityContext", "serviceAccount", "serviceAccountName", "terminationGracePeriodSeconds",
    "topologySpreadConstraints", "volumes",
)  # fmt: skip
_BOTH = (
    "args", "command", "env", "image", "imagePullPolicy", "name", "resources", "securityContext",
    "terminationMessagePath", "terminationMessagePolicy", "volumeMounts",
)  # fmt: skip
_OF_SERVER = (*_BOTH, "lifecycle", "livenessProbe", "ports", "readinessProbe", "startupProbe")
_ENVIRONMENT = ("LOCKGATE_HOSTS", "LOCKGATE_IO", layout.METRICS_VARIABLE, "LOCKGATE_NAMESPACE", "TMPDIR")
_PORTS = {"http": PORT, layout.METRICS: layout.METRICS_PORT}

VERSION = {
    "pod": "object.spec.template.spec",
    "volumes": "object.spec.template.spec.?volumes.orValue([])",
    "containers": "object.spec.template.spec.containers + object.spec.template.spec.?initContainers.orValue([])",
    "labels": "object.metadata.?labels.orValue({})",
}


def _selects(selector: str) -> str:
    """Return whether a selector chooses the pods of one version of the object's own model, and no others."""
    return (
        f"({selector}.size() == 3 && {selector}[?'{COMPONENT}'].orValue('') == 'model-server'"
        f" && {selector}[?'{NAME}'].orValue('') == object.metadata.?labels[?'{NAME}'].orValue('')"
        f" && {selector}[?'{layout.BUNDLE}'].orValue('').matches('^[0-9a-f]{{12}}$')"
        f" && object.metadata.?labels[?'{layout.BUNDLE}'].orValue({selector}['{layout.BUNDLE}'])"
        f" == {selector}['{layout.BUNDLE}'])"
    )


def versions(images: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the rules for the platform's Deployments, which could mount any Secret of the namespace.

    images: program -> its image. A version that is restored may have an earlier image of the same repository.
    """
    yield (
        f"a served version must run as {SERVER}, without a token",
        f"variables.pod.?serviceAccountName.orValue('') == '{SERVER}'"
        " && variables.pod.?automountServiceAccountToken.orValue(true) == false",
    )
    yield (
        f"a served version may mount only {layout.CONFIG_MAP}, {layout.STORE_SECRET} and empty folders",
        "variables.volumes.all(v, has(v.emptyDir)"
        f" || (has(v.configMap) && v.configMap.name == '{layout.CONFIG_MAP}')"
        f" || (has(v.secret) && v.secret.secretName == '{layout.STORE_SECRET}'))",
    )
    yield (
        f"only init containers that end may mount {layout.STORE_SECRET}; containers that serve have no credentials",
        "variables.pod.containers.all(c, c.?volumeMounts.orValue([]).all(m,"
        " !variables.volumes.exists(v, has(v.secret) && v.name == m.name)))"
        " && variables.pod.?initContainers.orValue([]).all(c, !has(c.restartPolicy))",
    )
    yield (
        "the environment of a served version is Lockgate's own, and nothing of it comes from a Secret or a ConfigMap",
        f"variables.containers.all(c, c.?env.orValue([]).all(e, e.name in {listed(*_ENVIRONMENT)}"
        " && (!has(e.valueFrom) || e.valueFrom.all(f, f == 'fieldRef'))))",
    )
    yield (
        "the images of a served version must be those of this project's model server and deploy, by digest;"
        " after a new image: lockgate render, apply kubernetes/",
        f"variables.pod.containers.all(c, {_of('predict', images)})"
        f" && variables.pod.?initContainers.orValue([]).all(c, {_of('deploy', images)})",
    )
    yield (
        "a served version has two containers: one brings the bundle, then the other serves it",
        f"variables.pod.all(f, f in {listed(*_POD)})"
        " && variables.pod.containers.all(c, c.name == 'model-server'"
        f" && c.all(f, f in {listed(*_OF_SERVER)}) && {_command('lockgate_model_server')}"
        " && c.?lifecycle.orValue({}).all(f, f == 'preStop')"
        " && c.?lifecycle.?preStop.orValue({}).all(f, f == 'sleep'))"
        " && variables.pod.?initContainers.orValue([]).all(c, c.name == 'pull'"
        f" && c.all(f, f in {listed(*_BOTH)}) && {_command('lockgate_deploy')}"
        " && c.?args[?0].orValue('') == 'pull')",
    )
    yield (
        "a served version has two ports: users' requests come to one, and the other has its metrics only",
        "variables.containers.all(c, c.?ports.orValue([]).all(p,"
        f" p.all(f, f in {listed('containerPort', 'name', 'protocol')})"
        f" && ({' || '.join(_is_port(*port) for port in _PORTS.items())})))",
    )
    yield (
        "the labels of a version's pods are those of the version: others would lead other users to them",
        f"variables.labels.all(k, k in {listed(*_LABELS)})"
        " && object.spec.template.metadata.?labels.orValue({}) == variables.labels"
        f" && {_selects('object.spec.selector.?matchLabels.orValue({})')}"
        " && object.spec.selector.all(f, f == 'matchLabels')"
        " && !has(object.metadata.ownerReferences) && !has(object.metadata.finalizers)",
    )


def _of(program: str, images: Mapping[str, str]) -> str:
    """Return whether the container c has an image of the program's own repository, by digest."""
    if program not in images:
        return "false"
    repository = images[program].split("@")[0]
    return f"c.image.startsWith({literal(f'{repository}@')}) && c.image.matches('^[^@]+@sha256:[0-9a-f]{{64}}$')"


def _is_port(name: str, number: int) -> str:
    return f"(p.?name.orValue('') == '{name}' && p.containerPort == {number})"


def _command(module: str) -> str:
    return f"c.?command.orValue([]) == ['python', '-m', '{module}']"


def services() -> Iterator[tuple[str, str]]:
    """Yield the rule for the platform's Services: they reach the model's own server, inside the cluster."""
    yield (
        "a Service of the platform must select the pods of one version of its model, and no address outside the"
        " cluster",
        "object.kind != 'Service' || (object.spec.?type.orValue('ClusterIP') == 'ClusterIP'"
        " && object.spec.?externalIPs.orValue([]).size() == 0"
        f" && {_selects('object.spec.?selector.orValue({})')}"
        f" && object.spec.?ports.orValue([]).all(p, p.port == {PORT} && p.?targetPort.orValue({PORT}) == 'http'))",
    )


def others() -> Iterator[tuple[str, str]]:
    """Yield the rules for what belongs to a version: they concern its own pods alone."""
    yield (
        "an autoscaler of the platform must scale its own version",
        "object.kind != 'HorizontalPodAutoscaler' || (object.spec.scaleTargetRef.kind == 'Deployment'"
        " && object.spec.scaleTargetRef.name == object.metadata.name"
        " && object.spec.scaleTargetRef.?apiVersion.orValue('') == 'apps/v1')",
    )
    yield (
        "a disruption budget of the platform must be about its own version, and let one pod be moved",
        "object.kind != 'PodDisruptionBudget' || (object.spec.?maxUnavailable.orValue(0) == 1"
        " && object.spec.?selector.orValue({}).all(f, f == 'matchLabels')"
        f" && {_selects('object.spec.?selector.?matchLabels.orValue({})')})",
    )
