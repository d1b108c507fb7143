"""What users of a model reach: one form for this machine and for a cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockgate.records.rollout import RolloutNow


@dataclass(frozen=True)
class Live:
    """Which version of a model answers users, as far as it can be seen from here.

    pointer: its bundle and generation; None if no version is live.
    url: where users call it.
    hidden: permission to see it was denied, so a pointer of None says nothing.
    answers: whether it answers now; None if this was not checked.
    problem: why it does not answer.
    candidate: the version that is being tried; None if there is none, or if this was not checked.
    rollout: which requests it gets, and what canary has counted; None if it gets none, or if this was not checked.
    waived: the reasons against it that waivers cover; None if this was not checked.
    unjudged: the gates that judged nothing of it; None if this was not checked.
    alert: why the store's live pointer is not followed; then `pointer` is the version accepted before.
    """

    pointer: Mapping[str, Any] | None
    url: str = ""
    hidden: bool = False
    answers: bool | None = None
    problem: str = ""
    candidate: Mapping[str, Any] | None = None
    rollout: RolloutNow | None = None
    waived: Sequence[Mapping[str, Any]] | None = None
    unjudged: Sequence[str] | None = None
    alert: str = ""
