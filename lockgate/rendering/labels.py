"""The labels of every object of a model."""

from lockgate_step import layout

from lockgate.definition.project import Model, Project

NAME, COMPONENT, PART_OF, MANAGED_BY = (
    f"app.kubernetes.io/{key}" for key in ("name", "component", "part-of", "managed-by")
)


def labels(model: Model, component: str) -> dict[str, str]:
    """Return the labels of one object; component: its task, or the workflow.

    On a cluster, the project's name is one of them: another project's apply does not change the object.
    """
    owner = Project(model.folder.parent.parent).owner
    return {
        **({layout.PROJECT: owner} if owner else {}),
        NAME: model.spec.name,
        COMPONENT: component,
        PART_OF: "lockgate",
        MANAGED_BY: "lockgate",
        "data.statcan.gc.ca/classification": model.spec.classification,
    }
