"""What starts runs by itself: a model's schedule, and the events of a registry."""

from typing import Any

from hera.workflows import CronWorkflow
from hera.workflows import models as m

from lockgate.definition.project import Model
from lockgate.rendering.labels import labels


def retrain(model: Model, release: str) -> dict[str, Any]:
    """Return the schedule; refusals never stop it: Argo would count them for ever (`stopStrategy`)."""
    schedule = model.spec.retrain
    return dict(
        CronWorkflow(
            name=f"{model.spec.name}-retrain",
            labels=labels(model, "retrain"),
            schedules=[schedule.cron],
            # Suspended if pods cannot read the data. To enable it, move the data to the store and render again.
            cron_suspend=None if model.spec.source.in_reach_of_pods else True,
            timezone=schedule.timezone,
            concurrency_policy="Forbid",
            starting_deadline_seconds=3600,
            successful_jobs_history_limit=3,
            failed_jobs_history_limit=3,
            workflow_template_ref=m.WorkflowTemplateRef(name=release),
        ).to_dict()
    )


def on_registry_event(model: Model, review: str) -> dict[str, Any]:
    """Start a review on a registry event. The event is only a hint: the run reads the version from the registry."""
    selector = (
        'payload.entity == "model_version_alias" && payload.action == "created"'
        f' && payload.data.name == "{model.spec.name}" && payload.data.alias == "{model.spec.alias}"'
        ' && metadata["x-mlflow-delivery-id"] != nil'
    )
    binding = m.WorkflowEventBinding(
        api_version="argoproj.io/v1alpha1",
        kind="WorkflowEventBinding",
        metadata=m.ObjectMeta(name=f"{model.spec.name}-on-registry-event", labels=labels(model, "on-registry-event")),
        spec=m.WorkflowEventBindingSpec(
            event=m.Event(selector=selector),
            submit=m.Submit(
                workflow_template_ref=m.WorkflowTemplateRef(name=review),
                # A repeated delivery has the same id, so its run's name collides and it does not run twice.
                metadata=m.ObjectMeta(name=f'"{model.spec.name}-" + metadata["x-mlflow-delivery-id"][0]'),
                arguments=m.Arguments(
                    parameters=[m.Parameter(name="version", value_from=m.ValueFrom(event="payload.data.version"))]
                ),
            ),
        ),
    )
    return dict(binding.model_dump(mode="json", by_alias=True, exclude_none=True))
