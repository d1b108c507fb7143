"""Moves live to the bundle that passed every gate."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lockgate_delivery.platform import Platform
from lockgate_delivery.pointers import Live, Pointers, check_base, now
from lockgate_delivery.proving import prove_staged, rollout_of
from lockgate_proof import CANARY, ProofError, Statement, VerifiedBundle
from lockgate_step import Record, log

Signed = Callable[[Record], Mapping[str, Any]]


def prove_rollout(staged: Path, smoke: Path, canary: Path | None, proven: VerifiedBundle) -> dict[str, Statement]:
    """Verify that the bundle passed smoke-test in this run, and canary if its spec names a rollout; by gate.

    Errors: ProofError.
    """
    rollout = rollout_of(proven)
    if rollout is None:
        return prove_staged(staged, proven, smoke_test=smoke)
    if canary is None:
        msg = f"the spec names the rollout {rollout.kind}, but there is no verdict of canary"
        raise ProofError(msg, fix="lockgate render: its workflows have the step canary; then run it again")
    verdicts = prove_staged(staged, proven, smoke_test=smoke, canary=canary)
    if verdicts[CANARY].predicate.get("result") == "not_judged" and proven.base["bundle"] is not None:
        msg = f"canary judged nothing, although {proven.base['bundle']} is live to compare with"
        raise ProofError(msg, fix="run the workflow again: canary judges the version beside what is live")
    return verdicts


def go_live(
    pointers: Pointers,
    platform: Platform,
    proven: VerifiedBundle,
    verdicts: Mapping[str, Statement],
    *,
    run: str,
    wait: float,
    signed: Signed,
) -> Record:
    """Move live by compare-and-swap on the base, write the history, and release the candidate.

    verdicts: of the gates after deploy, by gate. signed: signs the promotion.
    Returns its record, which the SDK signs again as the program's output.
    It may be killed after any line and run again. The order is intent, pointer, history: see
    `Pointers.complete_history`.
    Errors: Refusal when live has moved; then nothing was changed. OutsideFailed when the platform does not follow.
    """
    live = _move(pointers, proven, {**proven.verdicts, **verdicts}, run, signed)
    pointers.complete_history(live)
    if pointers.live() == live:
        platform.until_live(pointers, live, wait)
    pointers.release(run)
    log("live", model=proven.model, bundle=proven.digest, generation=live.generation)
    assert live.promotion is not None
    return live.promotion.record


def _move(
    pointers: Pointers, proven: VerifiedBundle, judged: Mapping[str, Statement], run: str, signed: Signed
) -> Live:
    live = pointers.live()
    if (live.run, live.bundle) == (run, proven.digest):
        return live
    if past := pointers.promoted(run, proven.digest):
        log("superseded", generation=past.generation, live=live.bundle)
        return past
    check_base(live, proven.base)
    pointers.complete_history(live)
    verdicts = {gate: verdict.digest for gate, verdict in judged.items()}
    intent = {
        "bundle": proven.digest,
        "generation": live.generation + 1,
        "base": {"bundle": proven.base["bundle"], "generation": proven.base["generation"]},
        "run": run,
        "verdicts": verdicts,
        "at": now(),
    }
    pointers.intend(run, intent)
    return pointers.move_live(proven.base, proven.digest, run, verdicts, signed)
