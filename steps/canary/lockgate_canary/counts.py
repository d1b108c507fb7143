"""Count what one version did since the canary began, from the counters of its pods.

A counter of a pod only rises, and begins again from 0 when the pod is restarted. So the counts are followed pod by pod:
`Tally` adds what each pod counted since the reading before, as Prometheus' `increase` does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from lockgate_step import BadCall

Histogram = Mapping[float, int]  # the upper bound of each bucket -> what is inside it; not cumulative; inf is the last
_WHOLE = ("requests", "errors", "refused", "compared", "disagreed")
_HISTOGRAMS = ("latency", "scores")
_TABLES = (*_HISTOGRAMS, "answers")
_FIELDS = (*_WHOLE, *_TABLES)


@dataclass(frozen=True)
class Counts:
    """What one version did: requests, answers, and their histograms.

    requests: all requests that ended, also those that failed or were refused.
    errors: requests that ended with a server error. refused: requests whose inputs were refused.
    latency: requests by the upper bound of their bucket, in milliseconds.
    answers: answered rows by label, with every label of the model.
    scores: answered rows by the upper bound of the bucket of their score.
    compared: answers of a shadow that were compared with live's. disagreed: those that differ from it.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    latency: Histogram = field(default_factory=dict)
    answers: Mapping[str, int] = field(default_factory=dict)
    scores: Histogram = field(default_factory=dict)
    compared: int = 0
    disagreed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Return the sum with another pod's counts. Errors: BadCall if their histograms have different buckets."""
        self._same_buckets(other)
        return Counts(**{name: _sum(getattr(self, name), getattr(other, name)) for name in _FIELDS})

    def since(self, earlier: "Counts") -> "Counts":
        """Return what the same pod counted after an earlier reading.

        If any of its counters fell, the pod was restarted in between: then all of them began again from 0.
        Errors: BadCall if the buckets of a histogram changed.
        """
        self._same_buckets(earlier)
        before, now = earlier._flat(), self._flat()
        if any(now.get(key, 0) < count for key, count in before.items()):
            return self
        return Counts(**{name: _less(getattr(self, name), getattr(earlier, name)) for name in _FIELDS})

    def times(self, factor: float) -> "Counts":
        """Return the counts of this many times the requests, at the same rates; rounded."""
        return Counts(**{name: _times(getattr(self, name), factor) for name in _FIELDS})

    def as_json(self) -> dict[str, Any]:
        """Return the counts as JSON values; the last bucket is called `+Inf`, as in Prometheus."""
        return {
            **{name: getattr(self, name) for name in _WHOLE},
            **{name: {_bound(at): n for at, n in sorted(getattr(self, name).items())} for name in _HISTOGRAMS},
            "answers": dict(sorted(self.answers.items())),
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `as_json` wrote. Errors: BadCall."""
        _check(isinstance(value, dict) and value.keys() == {*_FIELDS})
        tables = [value[name] for name in _TABLES]
        _check(all(isinstance(table, dict) for table in tables))
        numbers = [*(value[name] for name in _WHOLE), *(number for table in tables for number in table.values())]
        _check(all(type(number) is int and number >= 0 for number in numbers))
        try:
            histograms = {name: {float(at): n for at, n in value[name].items()} for name in _HISTOGRAMS}
        except ValueError:
            histograms = {"latency": {math.nan: 0}}
        _check(not any(math.isnan(at) for table in histograms.values() for at in table))
        return cls(**{**value, **histograms})

    def _flat(self) -> dict[tuple[str, float | str], int]:
        flat: dict[tuple[str, float | str], int] = {(name, ""): getattr(self, name) for name in _WHOLE}
        for name in _TABLES:
            flat |= {(name, key): count for key, count in getattr(self, name).items()}
        return flat

    def _same_buckets(self, other: "Counts") -> None:
        for name in _HISTOGRAMS:
            mine, others = getattr(self, name), getattr(other, name)
            if mine and others and mine.keys() != others.keys():
                msg = f"the pods of one version have different buckets for `{name}`"
                raise BadCall(msg, fix="run all pods of a version from the same image, then begin the canary again")


@dataclass(frozen=True)
class Tally:
    """What one version did since the canary began, whatever pods were added, restarted or removed.

    total: the counts since the beginning. last: the last reading of each pod.
    """

    total: Counts
    last: Mapping[str, Counts]

    @classmethod
    def begin(cls, readings: Mapping[str, Counts]) -> Self:
        """Begin with the first reading of every pod that runs: what they counted before is not the canary's."""
        return cls(Counts(), dict(readings))

    def read(self, readings: Mapping[str, Counts]) -> "Tally":
        """Add a further reading. A pod without one is left as it is; all that a new pod counted is added."""
        total = self.total
        for pod, now in readings.items():
            total += now.since(self.last.get(pod, Counts()))
        return Tally(total, {**self.last, **readings})

    def as_json(self) -> dict[str, Any]:
        """Return the tally as JSON values."""
        return {
            "total": self.total.as_json(),
            "last": {pod: counts.as_json() for pod, counts in sorted(self.last.items())},
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `as_json` wrote. Errors: BadCall."""
        _check(isinstance(value, dict) and value.keys() == {"total", "last"} and isinstance(value["last"], dict))
        last = {pod: Counts.from_json(counts) for pod, counts in value["last"].items()}
        return cls(Counts.from_json(value["total"]), last)


def _sum(one: Any, other: Any) -> Any:
    """The sum of two numbers, or of two tables of numbers."""
    if isinstance(one, int):
        return one + other
    return {key: one.get(key, 0) + other.get(key, 0) for key in dict.fromkeys((*one, *other))}


def _less(now: Any, earlier: Any) -> Any:
    return now - earlier if isinstance(now, int) else {key: count - earlier.get(key, 0) for key, count in now.items()}


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, int):
        return round(value * factor)
    return {key: round(count * factor) for key, count in value.items()}


def _bound(at: float) -> str:
    return "+Inf" if math.isinf(at) else f"{at:.17g}"


def _check(good: bool) -> None:
    if not good:
        msg = "the recorded counts of the canary cannot be read"
        raise BadCall(msg, fix="begin the canary again")
