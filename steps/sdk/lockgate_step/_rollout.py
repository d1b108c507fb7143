"""How users come to a new version: all at once, or only some of their requests until a gate has judged it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate_step._errors import SpecError

_HOLD = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SHORTEST, _LONGEST = 5, 30 * 86_400
_HEADER = re.compile(r"header:([a-z0-9!#$%&'*+.^_`|~-]{1,64})")  # RFC 9110, section 5.1; in lower case
_NEVER_BY = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})


@dataclass(frozen=True, kw_only=True)
class AllAtOnce:
    """Every request goes to the new version from the moment of its promotion."""

    kind = "all-at-once"

    def to_json(self) -> dict[str, Any]:
        """Return the entry of spec.json."""
        return {"kind": self.kind}


@dataclass(frozen=True, kw_only=True)
class Canary:
    """A share of the requests goes to the new version, which the gate `canary` judges before the share grows.

    shares: percentages of the requests, each larger than the one before. hold: how long each is judged at least.
    Errors: SpecError.
    """

    shares: tuple[int, ...] = (5, 25, 50)
    hold: str = "10m"

    kind = "canary"

    def __post_init__(self) -> None:
        if not self.shares or list(self.shares) != sorted(set(self.shares)):
            msg = f"rollout: shares {self.shares} must increase"
            raise SpecError(msg, fix="write percentages, e.g. Canary(shares=(5, 25, 50))")
        for share in self.shares:
            _check_share(share)
        seconds_of(self.hold)

    @property
    def seconds(self) -> int:
        """The shortest duration of the whole rollout."""
        return len(self.shares) * seconds_of(self.hold)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of spec.json."""
        return {"kind": self.kind, "shares": list(self.shares), "hold": self.hold}


@dataclass(frozen=True, kw_only=True)
class ABTest:
    """A share of the callers gets the new version; the same caller always gets the same one.

    share: percentage of the callers. hold: how long it is judged.
    by: what tells callers apart, `header:NAME`; a request without this header goes to the live version.
    Errors: SpecError.
    """

    share: int = 50
    hold: str = "7d"
    by: str = "header:x-user"

    kind = "ab-test"

    def __post_init__(self) -> None:
        _check_share(self.share)
        seconds_of(self.hold)
        found = _HEADER.fullmatch(self.by)
        if not found or found[1] in _NEVER_BY:
            msg = f"rollout: by={self.by!r} does not name a header that tells callers apart"
            raise SpecError(msg, fix='write it in lower case, e.g. ABTest(by="header:x-user")')

    @property
    def seconds(self) -> int:
        """The shortest duration of the whole rollout."""
        return seconds_of(self.hold)

    @property
    def header(self) -> str:
        """The name of the header that tells callers apart."""
        return self.by.removeprefix("header:")

    def to_json(self) -> dict[str, Any]:
        """Return the entry of spec.json."""
        return {"kind": self.kind, "share": self.share, "hold": self.hold, "by": self.by}


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """A share of the requests is also sent to the new version, whose answers nobody gets.

    share: percentage of the requests. hold: how long it is judged. Errors: SpecError.
    """

    share: int = 10
    hold: str = "1h"

    kind = "shadow"

    def __post_init__(self) -> None:
        _check_share(self.share, most=100)
        seconds_of(self.hold)

    @property
    def seconds(self) -> int:
        """The shortest duration of the whole rollout."""
        return seconds_of(self.hold)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of spec.json."""
        return {"kind": self.kind, "share": self.share, "hold": self.hold}


Judged = Canary | ABTest | Shadow  # rollouts with the gate `canary`
Rollout = AllAtOnce | Judged


def read_rollout(value: Mapping[str, Any]) -> Rollout:
    """Read the entry of spec.json. Errors: SpecError; TypeError or KeyError when it does not have this form."""
    given = dict(value)
    match given.pop("kind"):
        case AllAtOnce.kind:
            return AllAtOnce(**given)
        case Canary.kind:
            return Canary(**given | {"shares": tuple(given["shares"])})
        case ABTest.kind:
            return ABTest(**given)
        case Shadow.kind:
            return Shadow(**given)
        case other:
            msg = f"rollout {other!r} does not exist"
            raise SpecError(msg, fix=f"use one of {', '.join(r.kind for r in (AllAtOnce, Canary, ABTest, Shadow))}")


def seconds_of(hold: str) -> int:
    """Return the seconds of a duration such as 90s, 10m, 1h or 7d. Errors: SpecError."""
    found = _HOLD.fullmatch(hold) if isinstance(hold, str) else None
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not _SHORTEST <= seconds <= _LONGEST:
        msg = f"rollout: hold {hold!r} is not a duration between {_SHORTEST} seconds and {_LONGEST // 86_400} days"
        raise SpecError(msg, fix='write a number and s, m, h or d, e.g. "10m"')
    return seconds


def _check_share(share: object, most: int = 99) -> None:
    if type(share) is not int or not 1 <= share <= most:
        msg = f"rollout: the share {share!r} is not a whole percentage between 1 and {most}"
        raise SpecError(msg, fix="write e.g. 5 for five percent of the requests")
