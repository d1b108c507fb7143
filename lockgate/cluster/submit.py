"""Submit to a cluster: check what can be checked first, and build the workflow to create."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockgate_step import Data, without_credentials

from lockgate.cluster.api import NotThere
from lockgate.cluster.manifests.settings import Cluster
from lockgate.cluster.workflows import Argo
from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Project
from lockgate.definition.workflows import NAMES
from lockgate.engine import load_manifests
from lockgate.errors import BadCall, NotRendered, UnknownName
from lockgate.images.pins import UNBUILT, image_name
from lockgate.records.waivers import check_waivers
from lockgate.rendering.files import model_files
from lockgate.rendering.settings import check_settings, choices
from lockgate.report.lines import next_lines


@dataclass(frozen=True)
class Submission:
    """A submission to a cluster, and its result.

    command: the same as a command of argo's command line. unbuilt: the images that must be built first.
    workflow: the run's name on the cluster, empty if nothing was submitted. options: the options that name the cluster.
    """

    model: str
    namespace: str | None
    command: tuple[str, ...]
    options: str = ""
    unbuilt: tuple[str, ...] = ()
    workflow: str = ""

    @property
    def exit_code(self) -> int:
        """0 submitted, 2 something must be done first."""
        return 0 if self.workflow else 2

    def to_json(self) -> dict[str, Any]:
        """Return the submission as JSON values."""
        return {
            "model": self.model, "run": self.workflow or None, "namespace": self.namespace,
            "command": list(self.command), "unbuilt": list(self.unbuilt),
            "submitted": bool(self.workflow), "exit_code": self.exit_code,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """Return the submission as lines for the terminal."""
        if self.workflow:
            return [
                f"Submitted: {self.workflow} in {self.namespace}.",
                *next_lines(
                    [
                        (f"lockgate status {self.model} {self.options}", "show its status"),
                        (f"lockgate logs {self.workflow} {self.options}", "show its steps' logs"),
                        (
                            f"lockgate stop {self.workflow} {self.options}",
                            "stop it, if you may; the live version stays",
                        ),
                    ]
                ),
            ]
        return [
            f"  {shlex.join(self.command)}",
            f"Not submitted: {len(self.unbuilt)} images are not built yet ({', '.join(self.unbuilt)}).",
            *next_lines(
                [
                    ("lockgate images build, lockgate images push, lockgate render", "docs/operating.md"),
                    (f"lockgate run {self.model}", "run the same manifest on this machine, without images"),
                ]
            ),
        ]


@dataclass(frozen=True)
class Order:
    """A workflow of a model to submit: its rendered template, the template's folder, and the settings."""

    model: str
    manifest: Mapping[str, Any]
    folder: str
    given: Mapping[str, str]
    may_vary: Sequence[str] = ()

    @property
    def template(self) -> str:
        """The rendered WorkflowTemplate's name, which contains the digest of its content."""
        return str(self.manifest["metadata"]["name"])

    @property
    def parameters(self) -> dict[str, Mapping[str, Any]]:
        """The workflow's parameters by name."""
        return {p["name"]: p for p in self.manifest["spec"].get("arguments", {}).get("parameters", [])}

    @property
    def tunable(self) -> dict[str, list[str]]:
        """The settings a run may vary, as `Result` has them."""
        return choices(self.parameters, self.may_vary)

    @property
    def unbuilt(self) -> tuple[str, ...]:
        """The images that must be built first."""
        images = {t["container"]["image"] for t in self.manifest["spec"]["templates"] if "container" in t}
        return tuple(sorted(image_name(image) for image in images if image.endswith(UNBUILT)))

    @property
    def workflow(self) -> dict[str, Any]:
        """The Workflow to create: a reference and arguments, and nothing that a cluster's policy could refuse."""
        parameters = [{"name": name, "value": value} for name, value in self.given.items()]
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            # The controller would set the same labels, but only when the run starts; until then it could not be found.
            "metadata": {
                "generateName": f"{self.template.rpartition('-')[0]}-",
                "labels": dict(self.manifest["spec"]["workflowMetadata"]["labels"]),
            },
            "spec": {"workflowTemplateRef": {"name": self.template}, "arguments": {"parameters": parameters}},
        }

    def command(self, namespace: str | None) -> tuple[str, ...]:
        """Return the same as a command of argo's command line."""
        line = [
            "argo",
            "submit",
            "--from",
            f"workflowtemplate/{self.template}",
            *(["-n", namespace] if namespace else []),
        ]
        return (*line, *(part for key, value in self.given.items() for part in ("-p", f"{key}={value}")))

    def refusal(self, namespace: str | None) -> Submission | None:
        """Check, without a cluster, that it can be submitted. Errors: BadCall for data that only this machine has."""
        if self.unbuilt:
            return Submission(self.model, namespace, self.command(namespace), unbuilt=self.unbuilt)
        data = self.given.get("data") or str(self.parameters.get("data", {}).get("value", "s3://"))
        if not Data(uri=data).in_reach_of_pods:
            msg = f"data {data!r} cannot be reached from a cluster"
            raise BadCall(msg, fix="lockgate submit ... --data s3://BUCKET/KEY")
        return None

    def check_template(self, argo: Argo) -> None:
        """Check that the rendered template is on the cluster, unchanged. Errors: NotRendered."""
        fix = argo.kubectl("apply", "--server-side", "-f", f"{self.folder}/")
        try:
            found = argo.template(self.template)
        except NotThere as error:
            msg = f"workflow template {self.template} not found in {argo.namespace}"
            raise NotRendered(msg, fix=fix) from error
        if _pruned(found["spec"]) != _pruned(self.manifest["spec"]):
            msg = f"the workflow template {self.template} in {argo.namespace} differs from the rendered one"
            raise NotRendered(msg, fix=f"find out who changed it, then {fix}")


def order_of(project: Project, name: str, workflow: str, given: Mapping[str, str]) -> Order:
    """Return a workflow of a model with its settings, if the rendered files are up to date.

    Errors: UnknownName, NotRendered, BadCall for an unknown or a missing setting.
    """
    for setting, value in given.items():
        without_credentials(value, f"the setting {setting}")
    model = project.model(name)
    path = project.workflows / model.spec.name / f"{workflow}.yaml"
    if workflow not in NAMES:
        raise UnknownName("workflow", workflow, NAMES)
    if not path.is_file() or path.read_bytes() != model_files(project, model, check=True)[path]:
        msg = f"{path.relative_to(project.root)} is out of date"
        raise NotRendered(msg, fix="lockgate render, then apply it to the cluster")
    (manifest,) = load_manifests(path)
    order = Order(
        model.spec.name, manifest, str(path.parent.relative_to(project.root)), dict(given), model.spec.tunable
    )
    check_settings(given, order.parameters, {**Catalog.find().programs, **model.own_programs}.values())
    if (cluster := Cluster(project)).exists:
        check_waivers(model, cluster.as_environment.trust)
    return order


def _pruned(value: object) -> object:
    """Return a manifest without its empty fields, which an Argo server adds without meaning."""
    if isinstance(value, dict):
        return {key: pruned for key, each in value.items() if (pruned := _pruned(each)) not in ({}, [], "", None)}
    return [_pruned(each) for each in value] if isinstance(value, list) else value
