"""The supervisor's view of the store: the pointers it follows, the bundles it serves, the status it writes."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lockgate_proof import Promotion, ProofError, Traffic, Trust, bundle_digest, in_force, read_manifest
from lockgate_step import OutsideFailed, canonical, file_digest, is_plain, log
from lockgate_store import Store, get_tree

from lockgate.platform.follow import Candidate, Live, Wanted, read_candidate, utc_now
from lockgate.records.promotions import Memory, live_promotion, read_record

# S3 can only list all keys of a store, so new models are looked for less often than the pointers are read.
_LISTING_SECONDS = 5.0
# A pointer that does not verify is checked again, since its history may be restored meanwhile.
_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class _Followed:
    """What was concluded from a live pointer's content, and when."""

    content: bytes | None
    live: Live | None
    alert: str
    at: float


class Records:
    """One store. Every method blocks. Bundles of a store in a folder are served in place, others are copied.

    trust: reads the trust file. memory: the promotions accepted so far.
    """

    def __init__(self, store: Store, uri: str, copies: Path, trust: Callable[[], Trust], memory: Memory) -> None:
        url = urlsplit(uri)
        self._store, self._copies = store, copies
        self._root = Path(unquote(url.path)) if url.scheme == "file" else None
        self._models: frozenset[str] = frozenset()
        self._listed_at = -_LISTING_SECONDS
        self._damaged: dict[str, str] = {}
        self._trust, self._memory = trust, memory
        self._followed: dict[str, _Followed] = {}
        self._unproven: dict[str, bytes] = {}

    def wanted(self) -> dict[str, Wanted | None]:
        """Return what each model's pointers ask for; None if a pointer is damaged, so that nothing changes."""
        return {model: self._wanted(model) for model in sorted(self._known())}

    def folder(self, model: str, bundle: str) -> Path:
        """Return the bundle as a folder.

        Errors: ProofError if its content does not match its digest.
        """
        name = bundle.removeprefix("sha256:")
        prefix = f"models/{model}/bundles/{name}"
        if self._root is not None:
            _check_name(self._root / prefix, bundle)  # the model server verifies the rest
            return self._root / prefix
        copy = self._copies / name
        if not copy.is_dir():
            draft = self._copies / f"{name}.part"
            shutil.rmtree(draft, ignore_errors=True)
            get_tree(self._store, prefix, draft)
            _check(draft, bundle)
            draft.rename(copy)
        return copy

    def forget(self, bundle: str) -> None:
        """Delete the copy of a bundle that is no longer served."""
        shutil.rmtree(self._copies / bundle.removeprefix("sha256:"), ignore_errors=True)

    def report(self, model: str, status: Mapping[str, Any]) -> None:
        """Write the status of one model's servers."""
        at = utc_now().isoformat(timespec="milliseconds")
        self._store.put(f"models/{model}/status.json", canonical({**status, "at": at}))

    def _known(self) -> frozenset[str]:
        if self._root is not None:
            folder = self._root / "models"
            if self._models and not folder.is_dir():
                msg = f"the store {folder} does not exist any more"
                raise OutsideFailed(msg, fix="restore it; until then the live bundles are still served")
            entries = folder.iterdir() if folder.is_dir() else ()
            self._models = frozenset(entry.name for entry in entries if entry.is_dir() and is_plain(entry.name))
        elif time.monotonic() - self._listed_at >= _LISTING_SECONDS:
            names = {key.split("/")[1] for key in self._store.list("models/")}
            self._models = frozenset(filter(is_plain, names))
            self._listed_at = time.monotonic()
        return self._models

    def _wanted(self, model: str) -> Wanted | None:
        try:
            followed = self._follow(model)
            candidate = read_candidate(read_record(self._store, model, "candidate.json"), utc_now())
        except ValueError as error:
            if self._damaged.get(model) != str(error):
                log("damaged-pointer", model=model, problem=str(error), fix=f"restore models/{model} in the store")
            self._damaged[model] = str(error)
            return None
        self._damaged.pop(model, None)
        return Wanted(followed.live, candidate, self._share(model, followed.live, candidate), followed.alert)

    def _follow(self, model: str) -> _Followed:
        """Verify the live pointer if it has changed; one that does not verify leaves live where it was."""
        content, before = read_record(self._store, model, "live.json"), self._followed.get(model)
        moment = time.monotonic()
        if before and before.content == content and not (before.alert and moment - before.at >= _AGAIN_SECONDS):
            return before
        alert = ""
        try:
            found = live_promotion(self._store, model, self._trust, self._memory)
            if found and found.accepted != self._memory.accepted(model):
                self._memory.keep(found)
        except ProofError as error:
            alert = error.message
            if before is None or before.alert != alert:
                log("promotion-refused", model=model, problem=error.message, fix=error.fix)
            found = self._accepted(model)
        live = Live(found.bundle, found.at, found.generation) if found else None
        if alert and before and before.live:
            live = before.live
        self._followed[model] = _Followed(content, live, alert, moment)
        return self._followed[model]

    def _share(self, model: str, live: Live | None, candidate: Candidate | None) -> Traffic | None:
        """Return the candidate's share of the traffic; None if it has none, or if canary did not sign it for this."""
        if live is None or candidate is None:
            return None
        content = read_record(self._store, model, "traffic.json")
        if content is None:
            return None
        try:
            return in_force(
                content,
                self._trust(),
                model=model,
                run=candidate.run,
                bundle=candidate.bundle,
                live={"bundle": live.bundle, "generation": live.generation},
            )
        except ProofError as error:
            if self._unproven.get(model) != content:
                log("traffic-refused", model=model, problem=error.message, fix=error.fix)
            self._unproven[model] = content
            return None

    def _accepted(self, model: str) -> Promotion | None:
        try:
            return self._memory.kept(model, self._trust())
        except ProofError:  # the trust file itself is missing or damaged: the alert says so
            return None


def _check(folder: Path, bundle: str) -> None:
    for name, digest in _check_name(folder, bundle)["files"].items():
        if file_digest(folder / name) != digest:
            raise _changed(bundle, name)


def _check_name(folder: Path, bundle: str) -> Mapping[str, Any]:
    """Return the manifest if its digest is the bundle's: another signed bundle in its place is refused."""
    manifest = read_manifest(folder)
    if bundle_digest(manifest) != bundle:
        raise _changed(bundle, "manifest.json")
    return manifest


def _changed(bundle: str, name: str) -> ProofError:
    msg = f"{bundle} in the store does not match its digest: {name} was changed"
    return ProofError(msg, fix="run the workflow again: it packages a new bundle")
