"""Promotions: the signed records that make a bundle live. Each names the one before, so that they form a chain.

The `live` pointer in the store carries the newest promotion, and `history/<generation>.json` each of them. Whoever can
write the store can replace these files, but cannot sign one: a follower serves only what a chain of promotions names,
and remembers the newest one that it accepted in a place outside the store.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lockgate_step import Record, is_digest, loads, read_time

from lockgate_proof._envelope import Statement, verify
from lockgate_proof._errors import ProofError
from lockgate_proof._trust import Trust

SIGNER = "promote"
_LARGEST = 1 << 18  # bytes of a pointer
_POINTER = ("bundle", "generation", "previous", "run", "at")


@dataclass(frozen=True)
class Accepted:
    """The newest promotion that a follower accepted: its generation, and the digest of its signed record."""

    generation: int
    digest: str


@dataclass(frozen=True)
class Promotion:
    """A promotion whose signature was verified.

    previous: the bundle that was live before. before: the digest of the promotion before; both None for the first.
    verdicts: the digest of each gate's verdict. envelope: the signed record as JSON values.
    """

    model: str
    bundle: str
    generation: int
    previous: str | None
    before: str | None
    verdicts: Mapping[str, str]
    run: str
    at: str
    statement: Statement
    envelope: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The digest of the signed record."""
        return self.statement.digest

    @property
    def accepted(self) -> Accepted:
        """What a follower remembers of it."""
        return Accepted(self.generation, self.digest)

    @property
    def record(self) -> Record:
        """The record that was signed; signing it again gives the same bytes."""
        return promotion(
            self.model,
            bundle=self.bundle,
            generation=self.generation,
            previous=self.previous,
            before=self.before,
            verdicts=self.verdicts,
            run=self.run,
            at=self.at,
        )

    @property
    def pointer(self) -> dict[str, Any]:
        """What the live pointer says: `bundle`, `generation`, `previous`, `run` and `at`."""
        return {name: getattr(self, name) for name in _POINTER}

    def to_json(self) -> dict[str, Any]:
        """Return the content of the live pointer: what it says, and the signed record that proves it."""
        return {**self.pointer, "promotion": dict(self.envelope)}


def promotion(
    model: str,
    *,
    bundle: str,
    generation: int,
    previous: str | None,
    before: str | None,
    verdicts: Mapping[str, str],
    run: str,
    at: str,
) -> Record:
    """Return the record that makes a bundle live; `promote` signs it."""
    said = {"model": model, "generation": generation, "previous": previous, "before": before, "run": run, "at": at}
    return Record(
        kind="promotion", subjects=_subjects(bundle, verdicts, before), predicate={**said, "verdicts": dict(verdicts)}
    )


def _subjects(bundle: str, verdicts: Mapping[str, str], before: str | None) -> dict[str, str]:
    return {"bundle": bundle, "smoke-test": verdicts["smoke-test"], **({"before": before} if before else {})}


def read_promotion(content: bytes, trust: Trust, *, model: str, name: str = "live.json") -> Promotion:
    """Verify the content of a live pointer, or of a record of the history.

    name: of the file, for messages.

    Errors: ProofError if no key that may promote signed it, or if it says something else than its signed record.
    """
    where, fix = f"models/{model}/{name}", _RESTORE.format(model=model)
    pointer = _pointer(content, where, fix)
    if not isinstance(pointer.get("promotion"), dict):
        msg = f"{where} has no signed promotion: another version of Lockgate or somebody else wrote it"
        raise ProofError(msg, fix=_AFRESH.format(model=model))
    try:
        statement = verify(pointer["promotion"], trust, signer=SIGNER)
    except ProofError as error:
        msg = f"{where} {error.message}"
        raise ProofError(msg, fix=fix) from error
    try:
        found = _promotion(statement, pointer["promotion"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{where} is signed, but its record does not state a promotion"
        raise ProofError(msg, fix=fix) from error
    if found.model != model:
        msg = f"{where} carries a promotion of {found.model}"
        raise ProofError(msg, fix=fix)
    signed = found.pointer
    if odd := [name for name in _POINTER if _differ(pointer.get(name), signed[name])]:
        msg = f"{where} was changed: its {odd[0]} is not the one in its signed promotion"
        raise ProofError(msg, fix=fix)
    return found


def prove_live(
    content: bytes | None,
    history: Callable[[int], bytes | None],
    trust: Trust,
    *,
    model: str,
    accepted: Accepted | None = None,
) -> Promotion | None:
    """Return the promotion that a live pointer carries, verified with those before it; None if nothing was ever live.

    Each names the one before, back to the one that was accepted last, or else to the first.
    content: of `live.json`, or None if it does not exist. history: the content of `history/<generation>.json`, or None.
    accepted: what this follower accepted last.
    Errors: ProofError if a promotion is missing or was replaced, or if this one is older than the one accepted. It may
    also mean that another promotion was made meanwhile: read `live.json` again.
    """
    if content is not None:
        newest = read_promotion(content, trust, model=model)
        _verify_chain(newest, history, trust, accepted)
        return newest
    if accepted or history(1) is not None:
        msg = f"{model} was live, but models/{model}/live.json is missing in the store"
        raise ProofError(msg, fix="restore it from a copy of the store")
    return None


def _verify_chain(
    newest: Promotion, history: Callable[[int], bytes | None], trust: Trust, accepted: Accepted | None
) -> None:
    model, generation = newest.model, newest.generation
    if accepted and generation < accepted.generation:
        raise _rolled_back(newest, f"generation {accepted.generation} was accepted before")
    later, first = newest, accepted.generation if accepted else 1
    for later in islice(promotions_before(newest, history, trust), generation - first):  # noqa: B007 - the last one
        pass
    if accepted and (later.generation, later.digest) != (accepted.generation, accepted.digest):
        msg = f"another generation {accepted.generation} of {model} was accepted before: its history was replaced"
        raise ProofError(msg, fix=_RESTORE.format(model=model))
    if (following := history(generation + 1)) is not None and _follows(following, newest, trust):
        raise _rolled_back(newest, f"its history has generation {generation + 1}")


def promotions_before(newest: Promotion, history: Callable[[int], bytes | None], trust: Trust) -> Iterator[Promotion]:
    """Yield the promotions before one, the newest first; each is the one that the later one names.

    history: the content of `history/<generation>.json`, or None.
    Errors: ProofError if one is missing, or is another than the later one names.
    """
    model, later = newest.model, newest
    for number in range(newest.generation - 1, 0, -1):
        content = history(number)
        if content is None:
            msg = f"the history of {model} has no generation {number}, so generation {newest.generation} proves nothing"
            raise ProofError(msg, fix=f"restore models/{model}/history/{number}.json from a copy of the store")
        earlier = read_promotion(content, trust, model=model, name=f"history/{number}.json")
        if (earlier.generation, earlier.digest, earlier.bundle) != (number, later.before, later.previous):
            msg = f"generation {later.generation} of {model} does not follow on generation {number} in the history"
            raise ProofError(msg, fix=_RESTORE.format(model=model))
        yield earlier
        later = earlier


def _follows(content: bytes, newest: Promotion, trust: Trust) -> bool:
    try:
        return read_promotion(content, trust, model=newest.model).before == newest.digest
    except ProofError:
        return False  # a file that nobody signed proves nothing


def _rolled_back(found: Promotion, why: str) -> ProofError:
    msg = f"live of {found.model} was set back to generation {found.generation}: {why}"
    return ProofError(msg, fix=_RESTORE.format(model=found.model))


def _pointer(content: bytes, where: str, fix: str) -> dict[str, Any]:
    try:
        pointer = loads(content) if len(content) <= _LARGEST else None
    except ValueError:
        pointer = None
    if not isinstance(pointer, dict):
        msg = f"{where} is damaged"
        raise ProofError(msg, fix=fix)
    return pointer


def _promotion(statement: Statement, envelope: Mapping[str, Any]) -> Promotion:
    said, subjects = statement.predicate, statement.subjects
    generation, verdicts, before, previous = said["generation"], said["verdicts"], said["before"], said["previous"]
    digests = [subjects["bundle"], *verdicts.values(), *([] if generation == 1 else [before, previous])]
    texts = [said["model"], said["run"], said["at"]]
    wellformed = (
        type(generation) is int
        and generation >= 1
        and all(isinstance(each, str) for each in texts)
        and all(map(is_digest, digests))
        and (generation > 1 or before is previous is None)
        and subjects == _subjects(subjects["bundle"], verdicts, before)
    )
    if not wellformed:
        raise ValueError(generation)
    read_time(said["at"])
    return Promotion(
        said["model"], subjects["bundle"], generation, previous, before, verdicts, said["run"], said["at"],
        statement, envelope,
    )  # fmt: skip


def _differ(one: object, other: object) -> bool:
    """Return whether two JSON values differ; to Python, 1 is equal to true and to 1.0."""
    return type(one) is not type(other) or one != other


_RESTORE = "find out who wrote it, then restore models/{model}/live.json and its history/ from a copy of the store"
_AFRESH = (
    "move models/{model}/live.json and models/{model}/history/ out of the store, then run the workflow: the next "
    "promotion is generation 1 (docs/operating.md)"
)
