"""Which version of a model is live: the one that the store's chain of signed promotions proves."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from lockgate_proof import Accepted, Promotion, ProofError, Trust, prove_live, read_promotion
from lockgate_step import canonical, loads, sha256
from lockgate_store import Missing, Store


class Follower(Protocol):
    """What follows a model's promotions, and knows outside the store which one it accepted last."""

    def accepted(self, model: str) -> Accepted | None:
        """What was accepted last; None if nothing was."""

    def forget(self, model: str) -> str:
        """The action after which another chain of promotions is accepted."""


@dataclass(frozen=True)
class Memory:
    """The promotion of each model that this machine accepted last; outside the store, so no store writer changes it."""

    folder: Path

    @classmethod
    def of(cls, state: Path, store: str) -> Self:
        """The memory for one store. state: the project's state folder."""
        return cls(state / "serve" / "accepted" / sha256(store.encode()).removeprefix("sha256:")[:16])

    def file(self, model: str) -> Path:
        """The file for a model: the content of the live pointer that was accepted."""
        return self.folder / f"{model}.json"

    def kept(self, model: str, trust: Trust) -> Promotion | None:
        """The promotion accepted last; None if there is none, or if its key is not trusted any more."""
        try:
            return read_promotion(self.file(model).read_bytes(), trust, model=model)
        except (FileNotFoundError, ProofError):
            return None

    def accepted(self, model: str) -> Accepted | None:
        """What was accepted last, also if its key is not trusted any more.

        Errors: ProofError if the file is damaged.
        """
        try:
            said = loads(self.file(model).read_bytes())
            return Accepted(int(said["generation"]), sha256(canonical(said["promotion"])))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{self.file(model)}, the version of {model} that was accepted last, is damaged"
            raise ProofError(msg, fix="delete it; the whole history in the store is then verified") from error

    def forget(self, model: str) -> str:
        """The action after which another chain of promotions is accepted."""
        return f"if you have replaced the store yourself, delete {self.file(model)}"

    def keep(self, accepted: Promotion) -> None:
        """Remember a promotion, at once or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.file(accepted.model).with_suffix(".new")
        draft.write_bytes(canonical(accepted.to_json()))
        draft.replace(self.file(accepted.model))


def live_promotion(store: Store, model: str, trust: Callable[[], Trust], memory: Follower | None) -> Promotion | None:
    """The promotion that the live pointer carries, verified with every one before it; None if nothing was ever live.

    memory: what was accepted before, if it is known.
    Errors: ProofError, which says what is wrong; then the version accepted before still counts.
    """
    accepted, history = memory.accepted(model) if memory else None, history_of(store, model)
    while True:
        content = read_record(store, model, "live.json")
        try:
            return prove_live(content, history, trust(), model=model, accepted=accepted)
        except ProofError as error:
            if read_record(store, model, "live.json") != content:
                continue  # a run promoted in between: the pointer was not the newest any more
            if memory is None or accepted is None:
                raise
            raise ProofError(error.message, fix=f"{error.fix}; {memory.forget(model)}") from error


def history_of(store: Store, model: str) -> Callable[[int], bytes | None]:
    """What reads a promotion of the store's history by its generation; None if it is not there."""
    return lambda generation: read_record(store, model, f"history/{generation}.json")


def read_record(store: Store, model: str, name: str) -> bytes | None:
    """The content of a record of a model; None if it does not exist."""
    try:
        return store.read(f"models/{model}/{name}").data
    except Missing:
        return None
