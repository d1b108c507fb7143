"""Ends a run: releases its candidate, completes what it left unfinished, and writes its summary."""

from lockgate_delivery.platform import Platform
from lockgate_delivery.pointers import Pointers, now
from lockgate_step import log


def tidy(pointers: Pointers, platform: Platform, *, run: str, status: str, wait: float) -> None:
    """Release the run's candidate, complete the history if the run moved live, and write the run's `summary.json`.

    Then make the platform follow the pointers, whatever state the run left it in.
    """
    released = pointers.release(run)
    pointers.withdraw(run)
    live = pointers.live()
    if live.run == run:
        pointers.complete_history(live)
    promoted = pointers.promoted(run)
    names = [name for name in pointers.records(run) if name != "summary.json"]
    summary = {
        "model": pointers.model,
        "run": run,
        "status": status,
        "promoted": promoted and {"bundle": promoted.bundle, "generation": promoted.generation},
        "live": {"bundle": live.bundle, "generation": live.generation},
        "records": names,
        "at": now(),
    }
    pointers.summarize(run, summary)
    log("concluded", model=pointers.model, run=run, status=status, promoted=promoted is not None, released=released)
    platform.until_tidy(pointers, wait)
