"""The labels of every object of a model."""

from lockgate_step import layout

from lockgate.definition.project import Model, Project


def labels(model: Model, component: str) -> dict[str, str]:
    """Return the labels of one object; component: its task, or the workflow.

    On a cluster, the project's name is one of them: another project's apply does not change the object.
    """
    owner = Project(model.folder.parent.parent).owner
    return {
        **({layout.PROJECT: owner} if owner else {}),
        "app.kubernetes.io/name": model.spec.name,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "lockgate",
        "app.kubernetes.io/managed-by": "lockgate",
        "data.statcan.gc.ca/classification": model.spec.classification,
    }
