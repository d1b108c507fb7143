"""What a rollout has counted so far, as it is kept in the store, signed by canary."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from lockgate_proof import CANARY, CANARY_STATE, CANARY_STATE_KIND, Trust, verify
from lockgate_step import BadCall, Judged, Record, is_digest

from lockgate_canary.counts import Counts, Tally

_NOTHING = Tally(Counts(), {})


@dataclass(frozen=True)
class Share:
    """One planned share: for how many seconds it was in force, and what each version did meanwhile.

    restarts: how often servers of the candidate and of live ended by themselves; they have the same name, `NAME/N`.
    """

    share: int
    held: float = 0.0
    candidate: Tally = _NOTHING
    live: Tally = _NOTHING
    restarts: Mapping[str, int] = field(default_factory=lambda: {"candidate": 0, "live": 0})

    def begun(self, candidate: Mapping[str, Counts], live: Mapping[str, Counts]) -> "Share":
        """Begin with these readings, or go on with them after an earlier attempt, whose time was not counted."""
        if self.candidate.last and self.live.last:
            return self.read(candidate, live, seconds=0.0)
        return replace(self, candidate=Tally.begin(candidate), live=Tally.begin(live))

    def read(self, candidate: Mapping[str, Counts], live: Mapping[str, Counts], *, seconds: float) -> "Share":
        """Add further readings, `seconds` after the last ones."""
        ended = {
            "candidate": self.restarts["candidate"] + _ended(self.candidate.last, candidate),
            "live": self.restarts["live"] + _ended(self.live.last, live),
        }
        return replace(
            self,
            held=self.held + seconds,
            candidate=self.candidate.read(candidate),
            live=self.live.read(live),
            restarts=ended,
        )


@dataclass(frozen=True)
class State:
    """What a run's rollout has counted, by planned share."""

    shares: tuple[Share, ...]

    @property
    def restarts(self) -> dict[str, int]:
        """How often servers of each version ended by themselves."""
        return {name: sum(each.restarts[name] for each in self.shares) for name in ("candidate", "live")}

    def as_json(self) -> list[dict[str, Any]]:
        """Return it as JSON values."""
        return [
            {
                "share": each.share,
                "held": each.held,
                "candidate": each.candidate.as_json(),
                "live": each.live.as_json(),
                "restarts": dict(each.restarts),
            }
            for each in self.shares
        ]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `as_json` wrote. Errors: BadCall, KeyError or TypeError for anything else."""
        return cls(
            tuple(
                Share(
                    share=int(each["share"]),
                    held=float(each["held"]),
                    candidate=Tally.from_json(each["candidate"]),
                    live=Tally.from_json(each["live"]),
                    restarts={name: int(each["restarts"][name]) for name in ("candidate", "live")},
                )
                for each in value
            )
        )


def state_record(state: State, *, bundle: str, rollout: Judged, uid: str, said: Mapping[str, object]) -> Record:
    """Return the record of a state; canary signs it, with its run.

    said: the figures at this look, as the verdict will have them.
    """
    predicate = {"rollout": rollout.to_json(), "uid": uid, "state": state.as_json(), "figures": dict(said)}
    return Record(kind=CANARY_STATE_KIND, subjects={"bundle": bundle}, predicate=predicate)


def read_state(content: bytes, *, bundle: str, rollout: Judged | None, run: str, uid: str) -> State:
    """Verify and read a state that an earlier attempt of the same run kept.

    Errors: ProofError if canary did not sign it, BadCall if it is of another run, bundle or rollout.
    """
    found = verify(content, Trust.read(), signer=CANARY, kind=CANARY_STATE_KIND, name=CANARY_STATE)
    said = found.predicate
    known = (found.subjects.get("bundle"), said.get("run"), said.get("uid"), said.get("rollout"))
    if not is_digest(bundle) or known != (bundle, run, uid, rollout and rollout.to_json()):
        msg = "the record of the canary in the store is not of this run, bundle and rollout"
        raise BadCall(msg, fix="find out who wrote canary.json in the store, then start the workflow again")
    try:
        return State.from_json(said["state"])
    except (KeyError, TypeError, ValueError) as error:
        msg = "the record of the canary in the store cannot be read"
        raise BadCall(msg, fix="start the workflow again") from error


def _ended(before: Mapping[str, Counts], now: Mapping[str, Counts]) -> int:
    """How many servers were started again between two readings: the same name with another number, `NAME/N`."""
    started = {server.rpartition("/")[0] for server in now if server not in before}
    return sum(name in started for name in {server.rpartition("/")[0] for server in before if server not in now})
