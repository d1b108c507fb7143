"""What is current: the policy and the spec by which a version of each model may go live, and the templates with them.

An earlier template stays on a cluster beside the new one, and it carries its own policy. So the environment says which
policy counts now, and `deploy` and `promote` refuse every other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lockgate_step import canonical, layout, sha256

from lockgate.definition import workflows
from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Model, Project
from lockgate.errors import SpecError
from lockgate.images.pins import built
from lockgate.records.environment import Environment
from lockgate.rendering.files import write_or_check


@dataclass(frozen=True)
class Current:
    """The digests of a model's policy and spec, the names of its WorkflowTemplates, and the images of the programs.

    images: program of Lockgate -> its image by digest, if it was built.
    """

    policy: str
    spec: str
    templates: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, templates: tuple[str, ...] = (), images: Mapping[str, str] | None = None) -> "Current":
        """Return what is current of a model. Errors: SpecError."""
        policy, spec = (sha256(model.raw[name].encode()) for name in ("policy", "spec"))
        return cls(policy, spec, templates, images or {})

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        named = {"templates": list(self.templates), "images": dict(self.images)}
        return {"policy": self.policy, "spec": self.spec, **named}


def images_of(project: Project) -> dict[str, str]:
    """Return the image of each program of Lockgate that was built. Errors: SpecError if one has no digest."""
    references = built(project)
    programs = Catalog.find().programs.values()
    return {program.name: references[program.image] for program in programs if program.image in references}


def templates_of(project: Project) -> dict[str, list[dict[str, Any]]]:
    """Return the WorkflowTemplates of each model of a project. Errors: SpecError."""
    return {name: _templates(project, model) for name, model in sorted(project.models.items())}


def current_of(project: Project) -> dict[str, Current]:
    """Return what is current of each model of a project, with the names of its templates. Errors: SpecError."""
    images = images_of(project)
    return {
        model: Current.of(project.models[model], tuple(each["metadata"]["name"] for each in templates), images)
        for model, templates in templates_of(project).items()
    }


def current_bytes(current: Mapping[str, Current]) -> bytes:
    """Return the environment's file `current.json`."""
    return canonical({"version": 1, "models": {name: each.to_json() for name, each in current.items()}})


def write_current(project: Project, environment: Environment) -> None:
    """Write what is current into this machine's environment: the programs of a run in progress read it too."""
    found = {}
    for name, model in project.models.items():
        try:
            found[name] = Current.of(model)
        except SpecError:  # nothing of it can go live until it is corrected
            continue
    write_or_check({environment.config / layout.CURRENT: current_bytes(found)})


def _templates(project: Project, model: Model) -> list[dict[str, Any]]:
    from lockgate.rendering.manifest import workflow_template

    programs = {**model.own_programs, **Catalog.find().programs}
    graphs = (workflows.release(model.spec), workflows.review(model.spec))
    return [workflow_template(model, graph, programs, built(project)) for graph in graphs]
