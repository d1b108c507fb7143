"""`lockgate history`: the versions of a model that were live, as the signed promotions in the store prove them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lockgate_proof import RECALL, Promotion, promotions_before
from lockgate_store import Store

from lockgate.commands.target import Target, start
from lockgate.errors import BadCall
from lockgate.records.evidence import moment
from lockgate.records.promotions import history_of, live_promotion
from lockgate.records.store import store_of
from lockgate.report.lines import short


@dataclass(frozen=True)
class Entry:
    """One promotion.

    live: whether users reach it now. stored: whether the store still has its bundle.
    """

    made: Promotion
    live: bool
    stored: bool

    def to_json(self) -> dict[str, Any]:
        """The promotion as JSON values."""
        made = self.made
        return {
            **made.pointer,
            "verdicts": dict(made.verdicts),
            "signer": made.statement.owner,
            "rollback": RECALL in made.verdicts,
            "live": self.live,
            "stored": self.stored,
        }

    @property
    def line(self) -> str:
        """The promotion as people read it."""
        notes = [
            *(["rollback"] if RECALL in self.made.verdicts else []),
            *(["live"] if self.live else []),
            *([] if self.stored else ["bundle not in the store"]),
        ]
        made = self.made
        said = f"  {made.generation:>4}  {short(made.bundle)}  {moment(made.at)}  run {made.run}"
        return "   ".join([said, *([", ".join(notes)] if notes else [])])


@dataclass(frozen=True)
class History:
    """The promotions of a model, the newest first.

    more: how many earlier ones there are.
    """

    model: str
    entries: Sequence[Entry]
    more: int

    def to_json(self) -> dict[str, Any]:
        """The history as JSON values."""
        return {"model": self.model, "more": self.more, "generations": [each.to_json() for each in self.entries]}

    def lines(self) -> list[str]:
        """The history as people read it."""
        count = len(self.entries) + self.more
        first = f"{self.model}: {count} generation{'s'[: count > 1]}, the newest first"
        last = [f"  and {self.more} earlier: --last {count}"] if self.more else []
        return [first, *(each.line for each in self.entries), *last]


def history(target: Target, model: str, most: int) -> History:
    """The last promotions of a model.

    most: how many, at least 1.
    Errors: BadCall if nothing was ever live; ProofError if the store does not prove them.
    """
    if most < 1:
        msg = f"--last {most} shows nothing"
        raise BadCall(msg, fix="give a number of generations, e.g. --last 20")
    environment = target.environment
    store, trust = store_of(environment), environment.trust
    newest = live_promotion(store, model, lambda: trust, None)
    if newest is None:
        msg = f"no version of {model} was ever live {target.place}"
        raise BadCall(msg, fix=f"{start(target)} {model} {target.options}".rstrip())
    made = [newest, *islice(promotions_before(newest, history_of(store, model), trust), most - 1)]
    pointer: Mapping[str, Any] = target.live(model).pointer or {}
    entries = [Entry(each, each.generation == pointer.get("generation"), _stored(store, each)) for each in made]
    return History(model, entries, newest.generation - len(made))


def _stored(store: Store, made: Promotion) -> bool:
    return store.exists(f"models/{made.model}/bundles/{made.bundle.removeprefix('sha256:')}/manifest.json")
