"""Give a staged version its shares of the users' requests one after another, and judge it at every look.

Whatever ends it, users are back on the live version: a refusal, an error and SIGTERM send everything back at once; if
the program is killed, the signed share ends by itself (see `lockgate_proof.Traffic`). What was counted is kept in the
store, signed, so that another attempt of the same run goes on where the last one was.
"""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import FrameType
from typing import Any, NoReturn

from lockgate_delivery.platform import Platform
from lockgate_delivery.pointers import LEASE, Pointers, check_base
from lockgate_policy import CanaryRule, Policy
from lockgate_proof import CANARY_STATE, LIFETIME, Traffic, VerifiedBundle, traffic
from lockgate_step import (
    BadCall,
    Canary,
    Inconclusive,
    Judged,
    LockgateError,
    NotJudged,
    OutsideFailed,
    Passed,
    Reason,
    Record,
    Refusal,
    Refused,
    Shadow,
    canonical,
    log,
    read_time,
    seconds_of,
)

from lockgate_canary.judge import Judgement, judge
from lockgate_canary.measures import Stage, ratio_of
from lockgate_canary.reading import counts_of
from lockgate_canary.state import Share, State, read_state, state_record

_LOOKS, _SHORTEST_LOOK, _LONGEST_LOOK = 100, 1.0, 10.0  # looks in a hold, and seconds between two
_RENEWED = LIFETIME / 2  # a share is signed again when this is left of its time
_SILENT_SECONDS = 30.0  # a version whose servers do not answer for longer cannot be judged
_LINES = 300  # lines of progress in a rollout


@dataclass(frozen=True, kw_only=True)
class RolledOut:
    """A staged version on its way to users.

    rollout: how users come to it; None if all at once.
    sign: signs a record with canary's key. run, uid: of this program's run.
    wait: seconds to wait until the platform divides the requests.
    clock, sleep: the passing of time, in seconds.
    """

    pointers: Pointers
    platform: Platform
    proven: VerifiedBundle
    rollout: Judged | None
    policy: Policy
    sign: Callable[[Record], Mapping[str, Any]]
    run: str
    uid: str
    wait: float
    clock: Callable[[], float] = field(default=time.monotonic)
    sleep: Callable[[float], None] = field(default=time.sleep)

    @property
    def shares(self) -> Sequence[int]:
        """The planned shares in percent, in order."""
        assert self.rollout is not None
        return self.rollout.shares if isinstance(self.rollout, Canary) else (self.rollout.share,)

    @property
    def hold(self) -> float:
        """The seconds for which each share is judged."""
        assert self.rollout is not None
        return seconds_of(self.rollout.hold)


def judge_rollout(given: RolledOut, *, subjects: Mapping[str, str]) -> Passed | NotJudged | Refused | Inconclusive:
    """Give the version each planned share for its hold, unless a rule is broken before; return the verdict.

    subjects: what the verdict is about.
    Errors: Refusal when live has moved or another run holds the candidate, OutsideFailed when the platform does not
    follow or live's servers cannot be asked. After every error and every verdict but `Passed`, users are on live.
    """
    model = given.proven.model
    if given.rollout is None:
        msg = f"the spec of {model} names no rollout that canary judges"
        raise BadCall(msg, fix="lockgate render: its workflows have no step canary then")
    if not given.platform.compares and (rule := _needs_comparing(given.policy)):
        msg = f"{rule.source}: on this platform nothing compares a shadow's answers, so disagreement_rate is not known"
        raise BadCall(msg, fix="use answer_shift in its place, or try the rollout with lockgate run on one machine")
    if given.pointers.live().bundle is None and given.proven.base["bundle"] is None:
        said = "no version is live yet, so there are no users to divide: no rule of [[canary]] was judged"
        log("nothing-live", model=model)
        return NotJudged(
            model=model, subjects=subjects, notes=(said,), measurements={"rollout": given.rollout.to_json()}
        )
    trial = _Trial(given)
    with _back_to_live(given, trial):
        judgement, crashed = trial.carry_out()
        found = {**judgement.measurements, **trial.measurements}
        reasons = (*crashed, *judgement.reasons)
        if crashed or judgement.result == "refused":
            return Refused(model=model, subjects=subjects, reasons=reasons, measurements=found)
        if judgement.result == "inconclusive":
            return Inconclusive(model=model, subjects=subjects, reasons=reasons, measurements=found)
        trial.passed = True
        return Passed(model=model, subjects=subjects, measurements=found)


def _needs_comparing(policy: Policy) -> CanaryRule | None:
    return next((rule for rule in policy.canary if rule.measure == "disagreement_rate"), None)


@contextmanager
def _back_to_live(given: RolledOut, trial: "_Trial") -> Iterator[None]:
    """Send everything back to live however the block ends, except after a passed verdict: promote moves live then."""

    def ended(number: int, frame: FrameType | None) -> NoReturn:
        msg = f"the step was stopped by signal {number}"
        raise OutsideFailed(msg, fix="run the workflow again; what was counted is kept for a retry of the same run")

    before = signal.signal(signal.SIGTERM, ended)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if not trial.passed:
            began = given.clock()
            with suppress(LockgateError):  # the first error is the one to report; conclude tries again
                if given.pointers.withdraw(given.run):
                    given.platform.until_shared(given.pointers, None, given.wait)
                log("back-to-live", model=given.proven.model, seconds=round(given.clock() - began, 3))


class _Trial:
    """One attempt to carry out a rollout; `state` is what all attempts of the run have counted."""

    def __init__(self, given: RolledOut) -> None:
        self.given = given
        self.passed = False
        self._hold = given.hold
        self._every = min(_LONGEST_LOOK, max(_SHORTEST_LOOK, self._hold / _LOOKS))
        self._shadow = isinstance(given.rollout, Shadow)
        self._signed: Traffic | None = None
        self._told = 0.0
        self.state = self._kept() or State(tuple(Share(share) for share in given.shares))

    @property
    def measurements(self) -> dict[str, object]:
        """The rollout, and what each share counted."""
        assert self.given.rollout is not None
        shares = [
            {
                "share": each.share,
                "seconds": round(each.held, 1),
                "requests": each.candidate.total.requests,
                "requests_of_live": each.live.total.requests,
            }
            for each in self.state.shares
        ]
        return {"rollout": self.given.rollout.to_json(), "shares": shares, "restarts": self.state.restarts}

    def carry_out(self) -> tuple[Judgement, tuple[Reason, ...]]:
        """Hold every share; return the judgement, and why the version is refused whatever the rules say."""
        while True:
            number = next((n for n, each in enumerate(self.state.shares) if each.held < self._hold), None)
            if number is None:
                return self._judge(over=True), ()
            try:
                judgement, reasons = self._hold_share(number)
            except _Silent as silent:
                return self._judge(over=False), (silent.reason,)
            if reasons or judgement.result == "refused":
                return judgement, reasons

    def _hold_share(self, number: int) -> tuple[Judgement, tuple[Reason, ...]]:
        """Hold one share until its time is over or the version is refused."""
        self._share(number)
        candidate, live = self._read(number)
        share = self.state.shares[number].begun(candidate, live)
        self._note(number, share)
        log("share", model=self.given.proven.model, share=share.share, hold=self._hold, held=round(share.held, 1))
        seen = self.given.clock()
        while True:
            self.given.sleep(max(0.0, min(self._every, self._hold - share.held)))
            self._share(number)
            candidate, live = self._read(number)
            now = self.given.clock()
            # If this process was stopped for longer, the share was not in force all the time.
            share = share.read(candidate, live, seconds=min(now - seen, LIFETIME.total_seconds()))
            seen = now
            self._note(number, share)
            over = all(each.held >= self._hold for each in self.state.shares)
            judgement, reasons = self._judge(over=over), self._crashed()
            self._keep(judgement)
            if reasons or judgement.result == "refused" or share.held >= self._hold:
                return judgement, reasons

    def _note(self, number: int, share: Share) -> None:
        shares = list(self.state.shares)
        shares[number] = share
        self.state = replace(self.state, shares=tuple(shares))

    def _judge(self, *, over: bool) -> Judgement:
        stages = [
            Stage(each.candidate.total, each.live.total, ratio_of(each.share, shadow=self._shadow))
            for each in self.state.shares
        ]
        return judge(self.given.policy, stages, over=over, shadow=self._shadow)

    def _crashed(self) -> tuple[Reason, ...]:
        restarts = self.state.restarts
        if restarts["candidate"] <= restarts["live"]:
            return ()
        return (
            Reason(
                rule="canary:restarts",
                message=f"the version's servers ended by themselves {restarts['candidate']} time(s), live's "
                f"{restarts['live']}",
                why="A server that ends under the users' requests loses them.",
            ),
        )

    def _check(self) -> None:
        """Check that this run still holds the candidate, and that live is what it is compared with; renew the lease.

        Errors: Refusal.
        """
        pointers, run = self.given.pointers, self.given.run
        check_base(pointers.live(), self.given.proven.base)
        lease = pointers.lease()
        if lease is None or (lease.run, lease.bundle) != (run, self.given.proven.digest):
            msg = f"the candidate of {pointers.model} is no longer held by this run"
            raise Refusal(msg, fix="find out which run took it (lockgate runs), then run the workflow again")
        if read_time(lease.lease_until) - datetime.now(UTC) < LEASE / 2:
            pointers.take(replace(lease, lease_until=(datetime.now(UTC) + LEASE).isoformat()))

    def _share(self, number: int) -> None:
        """Keep a share in force: sign it, unless the last record holds long enough; wait until the platform follows it.

        Errors: as for `_check`, and those of the platform.
        """
        self._check()
        given, share, now = self.given, self.given.shares[number], datetime.now(UTC)
        if self._signed and self._signed.share == share and self._signed.until - now > _RENEWED:
            return
        rollout = given.rollout
        assert rollout is not None
        base = {"bundle": given.proven.base["bundle"], "generation": given.proven.base["generation"]}
        self._signed = Traffic(
            model=given.proven.model,
            bundle=given.proven.digest,
            rollout=replace(rollout, shares=(share,)) if isinstance(rollout, Canary) else rollout,
            live=base,
            run=given.run,
            uid=given.uid,
            until=now + LIFETIME,
        )
        given.pointers.share(given.sign(traffic(self._signed)))
        given.platform.until_shared(given.pointers, self._signed, given.wait)

    def _read(self, number: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Ask every server of both versions. Errors: _Silent, OutsideFailed for live."""
        proven = self.given.proven
        return self._ask(proven.digest, number, own=True), self._ask(proven.base["bundle"], number, own=False)

    def _ask(self, bundle: str, number: int, *, own: bool) -> Mapping[str, Any]:
        given = self.given
        deadline = given.clock() + _SILENT_SECONDS
        while True:
            try:
                found = given.platform.readings(given.pointers, bundle)
                return {server: counts_of(text, given.proven.model, bundle) for server, text in found.items()}
            except OutsideFailed as error:
                if given.clock() > deadline:
                    if own:
                        raise _Silent(error) from error
                    raise
            given.sleep(self._every)
            self._share(number)

    def _kept(self) -> State | None:
        """Return what an earlier attempt of this run counted, or None. Errors: ProofError if canary did not sign it."""
        given = self.given
        content = given.pointers.kept(given.run, CANARY_STATE)
        if content is None:
            return None
        return read_state(content, bundle=given.proven.digest, rollout=given.rollout, run=given.run, uid=given.uid)

    def _keep(self, judgement: Judgement) -> None:
        given = self.given
        assert given.rollout is not None
        said = {**judgement.measurements, **self.measurements}
        record = state_record(self.state, bundle=given.proven.digest, rollout=given.rollout, uid=given.uid, said=said)
        given.pointers.keep(given.run, CANARY_STATE, canonical(given.sign(record)))
        self._tell()

    def _tell(self) -> None:
        """Log the progress, a few hundred times in a rollout at most."""
        held, total = sum(each.held for each in self.state.shares), self._hold * len(self.state.shares)
        if held - self._told < total / _LINES and held < total:
            return
        self._told = held
        share = next((each for each in reversed(self.state.shares) if each.held), self.state.shares[0])
        counted = [each.candidate.total.requests for each in self.state.shares]
        of_live = [each.live.total.requests for each in self.state.shares]
        what = f"s; {share.share} % go to it, {sum(counted):,} requests so far, {sum(of_live):,} to live"
        log("progress", done=round(held), total=round(total), what=what)


class _Silent(Exception):
    """The servers of the candidate do not answer."""

    def __init__(self, error: LockgateError) -> None:
        super().__init__(error.message)
        self.reason = Reason(
            rule="canary:answers",
            message=f"the version's servers did not answer for {_SILENT_SECONDS:g} s: {error.message}",
            why="A version that stops answering under the users' requests must not be promoted.",
        )
