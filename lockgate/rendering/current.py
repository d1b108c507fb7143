"""What is current: by which policy, spec and expectations a version of each model may go live, and the templates.

An earlier template stays on a cluster beside the new one, and it carries its own policy. So the environment says which
of these files count now, and `deploy` and `promote` refuse every other.
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
    """What a model is judged by now, the names of its WorkflowTemplates, and the images of the programs.

    policy, spec, expectations: digests.
    images: program of Lockgate, or additional gate of the model -> its image by digest, if it was built.
    """

    policy: str
    spec: str
    expectations: str
    templates: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, templates: tuple[str, ...] = (), images: Mapping[str, str] | None = None) -> "Current":
        """Return what is current of a model. Errors: SpecError."""
        policy, spec, expectations = (sha256(model.raw[name].encode()) for name in ("policy", "spec", "expectations"))
        return cls(policy, spec, expectations, templates, images or {})

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "policy": self.policy,
            "spec": self.spec,
            "expectations": self.expectations,
            "templates": list(self.templates),
            "images": dict(self.images),
        }


def images_of(project: Project, model: Model | None = None) -> dict[str, str]:
    """Return the image of each program of Lockgate that was built, and of each additional gate of a model.

    Errors: SpecError if one has no digest.
    """
    references = built(project)
    programs = {**Catalog.find().programs, **(model.gates if model else {})}
    return {name: references[each.image] for name, each in programs.items() if each.image in references}


def templates_of(project: Project) -> dict[str, list[dict[str, Any]]]:
    """Return the WorkflowTemplates of each model of a project. Errors: SpecError."""
    return {name: _templates(project, model) for name, model in sorted(project.models.items())}


def current_of(project: Project) -> dict[str, Current]:
    """Return what is current of each model of a project, with the names of its templates. Errors: SpecError."""
    found = {}
    for name, templates in templates_of(project).items():
        model = project.models[name]
        named = tuple(each["metadata"]["name"] for each in templates)
        found[name] = Current.of(model, named, images_of(project, model))
    return found


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
    graphs = workflows.every(model.spec, model.gates.values()).values()
    return [workflow_template(model, graph, programs, built(project)) for graph in graphs]
