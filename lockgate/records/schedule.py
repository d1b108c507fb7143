"""A model's schedule on a cluster: whether it starts runs, when it did last, and when it will next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_ENDED = "workflows.argoproj.io/cron-workflow-completed"


@dataclass(frozen=True)
class Schedule:
    """A CronWorkflow.

    state: `active`, `suspended`, or `stopped`: Argo has ended it, and neither resume nor apply starts it again.
    last, next: moments in ISO 8601; empty if there was none, or if none will follow.
    """

    name: str
    model: str
    state: str
    cron: tuple[str, ...]
    timezone: str
    last: str
    next: str
    template: str

    @classmethod
    def of(cls, found: Mapping[str, Any], now: datetime | None = None) -> "Schedule":
        """Return the schedule of a CronWorkflow as Argo keeps it."""
        metadata, spec, status = found["metadata"], found["spec"], found.get("status") or {}
        labels = metadata.get("labels") or {}
        ended = status.get("phase") == "Stopped" or labels.get(_ENDED) == "true"
        state = "stopped" if ended else "suspended" if spec.get("suspend") else "active"
        cron = tuple(spec.get("schedules") or [spec["schedule"]])
        zone = spec.get("timezone") or "UTC"
        return cls(
            name=metadata["name"],
            model=labels.get("app.kubernetes.io/name", ""),
            state=state,
            cron=cron,
            timezone=zone,
            last=status.get("lastScheduledTime") or "",
            next=_next(cron, zone, now or datetime.now(UTC)) if state == "active" else "",
            template=spec.get("workflowSpec", {}).get("workflowTemplateRef", {}).get("name", ""),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values (schemas/status.schema.json)."""
        return {
            "name": self.name, "state": self.state, "cron": list(self.cron), "timezone": self.timezone,
            "last": self.last, "next": self.next,
        }  # fmt: skip

    @property
    def line(self) -> str:
        """The schedule in one line."""
        last = f"last run {self.last}" if self.last else "no run yet"
        when = f"next {self.next}" if self.next else "no next run"
        return f"{self.name} is {self.state}: {', '.join(self.cron)} ({self.timezone}); {last}; {when}"


def _next(cron: tuple[str, ...], zone: str, now: datetime) -> str:
    from croniter import CroniterError, croniter

    try:
        here = now.astimezone(ZoneInfo(zone))
        moments = [croniter(each, here).get_next(datetime) for each in cron]
    except (CroniterError, ZoneInfoNotFoundError, ValueError):  # a form that only Argo knows
        return ""
    return str(min(moments).isoformat())
