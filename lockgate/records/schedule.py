"""A model's schedule on a cluster: whether it starts runs, when it did last, and when it will next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

GRACE = timedelta(minutes=2)  # until the controller has started a run, and has written that it did
_ENDED = "workflows.argoproj.io/cron-workflow-completed"


@dataclass(frozen=True)
class Schedule:
    """A CronWorkflow.

    state: `active`, `suspended`, or `stopped`: Argo has ended it, and neither resume nor apply starts it again.
    last, next: moments in ISO 8601; empty if there was none, or if none will follow.
    missed: the moment at which it should have started a run last, and did not; empty if it did.
    """

    name: str
    model: str
    state: str
    cron: tuple[str, ...]
    timezone: str
    last: str
    next: str
    missed: str
    template: str

    @classmethod
    def of(cls, found: Mapping[str, Any], now: datetime | None = None) -> "Schedule":
        """Return the schedule of a CronWorkflow as Argo keeps it."""
        metadata, spec, status = found["metadata"], found["spec"], found.get("status") or {}
        labels = metadata.get("labels") or {}
        ended = status.get("phase") == "Stopped" or labels.get(_ENDED) == "true"
        state = "stopped" if ended else "suspended" if spec.get("suspend") else "active"
        cron = tuple(spec.get("schedules") or [spec["schedule"]])
        zone, now = spec.get("timezone") or "UTC", now or datetime.now(UTC)
        return cls(
            name=metadata["name"],
            model=labels.get("app.kubernetes.io/name", ""),
            state=state,
            cron=cron,
            timezone=zone,
            last=status.get("lastScheduledTime") or "",
            next=_next(cron, zone, now) if state == "active" else "",
            missed=_missed(cron, zone, now, found) if state == "active" else "",
            template=spec.get("workflowSpec", {}).get("workflowTemplateRef", {}).get("name", ""),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values (schemas/status.schema.json)."""
        return {
            "name": self.name, "state": self.state, "cron": list(self.cron), "timezone": self.timezone,
            "last": self.last, "next": self.next, "missed": self.missed,
        }  # fmt: skip

    @property
    def line(self) -> str:
        """The schedule in one line."""
        last = f"last run {self.last}" if self.last else "no run yet"
        when = f"next {self.next}" if self.next else "no next run"
        missed = f"; it started no run at {self.missed}" if self.missed else ""
        return f"{self.name} is {self.state}: {', '.join(self.cron)} ({self.timezone}); {last}{missed}; {when}"

    @property
    def run_missed(self) -> str:
        """The name that Argo would have given the missed run; if another run has it, Argo starts none."""
        return f"{self.name}-{int(datetime.fromisoformat(self.missed).timestamp())}"


def _next(cron: tuple[str, ...], zone: str, now: datetime) -> str:
    moments = _moments(cron, zone, now, "get_next")
    return min(moments).isoformat() if moments else ""


def _missed(cron: tuple[str, ...], zone: str, now: datetime, found: Mapping[str, Any]) -> str:
    """Return when it should have started a run last, if no run of this schedule began then."""
    status, moments = found.get("status") or {}, _moments(cron, zone, now - GRACE, "get_prev")
    if not moments or status.get("active"):  # it never starts a second run beside the one in progress
        return ""
    slot, started = max(moments), status.get("lastScheduledTime")
    on_time = started and datetime.fromisoformat(started) >= slot
    return "" if on_time or slot < _since(found["metadata"]) else slot.isoformat()


def _since(metadata: Mapping[str, Any]) -> datetime:
    """Return since when the schedule is as it is: it was created, changed or resumed then."""
    entries = [entry for entry in metadata.get("managedFields") or () if "f:spec" in (entry.get("fieldsV1") or {})]
    times = [metadata.get("creationTimestamp"), *(entry.get("time") for entry in entries)]
    return max((datetime.fromisoformat(time) for time in times if time), default=datetime.min.replace(tzinfo=UTC))


def _moments(cron: tuple[str, ...], zone: str, now: datetime, which: str) -> list[datetime]:
    from croniter import CroniterError, croniter

    try:
        here = now.astimezone(ZoneInfo(zone))
        return [getattr(croniter(each, here), which)(datetime) for each in cron]
    except (CroniterError, ZoneInfoNotFoundError, ValueError):  # a form that only Argo knows
        return []
