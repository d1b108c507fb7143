"""The rollout of a version: its shares, its verdict, and that users are on live however it ends."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lockgate_canary.rollout import RolledOut, judge_rollout
from lockgate_delivery.pointers import LEASE, Lease, Pointers, now
from lockgate_policy import read_given
from lockgate_proof import CANARY, ProofError, VerifiedBundle, sign, verify, verify_bundle
from lockgate_step import (
    ABTest,
    BadCall,
    Canary,
    Inconclusive,
    Judged,
    NotJudged,
    OutsideFailed,
    Passed,
    Record,
    Refusal,
    Refused,
    Shadow,
    canonical,
)

from tests.steps.canary.world import Killed, Server, World
from tests.steps.version_bench import Bench

RULES = """
[[quality]]
measure = "accuracy"
at_least = 0.7
why = "It must be right more often than a guess."

[[canary]]
measure = "error_rate"
no_worse_than_live_by = 0.02
why = "Users must get an answer."

[[canary]]
measure = "answer_shift"
at_most = 0.15
why = "Nobody's chances may change unnoticed."
"""
OLD = "sha256:" + "a" * 64
CANARIES: Judged = Canary(shares=(10, 50), hold="12s")


class Case:
    """A version that is staged beside a live one, and the platform that serves both."""

    def __init__(self, root: Path, rollout: Judged | None = CANARIES, *, live: bool = True) -> None:
        self.bench = Bench(root)
        (root / "policy.toml").write_text((root / "policy.toml").read_text() + RULES)
        self.bench.make_current()
        base = self.bench.live(OLD) if live else {"bundle": None, "generation": 0}
        folder = self.bench.bundle(base)
        self.proven: VerifiedBundle = verify_bundle(folder, self.bench.trust, now=None)
        self.pointers = Pointers(self.bench.store, self.bench.model, self.bench.trust, uid="u1")
        self.hold("r1", LEASE)
        self.world = World(self.pointers, OLD, self.proven.digest, rate=200)
        self.rollout = rollout

    def hold(self, run: str, length: timedelta, bundle: str = "") -> None:
        until = (datetime.now(UTC) + length).isoformat()
        lease = Lease(bundle or self.proven.digest, run, OLD, 1, until, now())
        self.bench.put("candidate.json", vars(lease))

    def sign(self, record: Record) -> Mapping[str, object]:
        self.world.call()
        said = {**record.predicate, "program": {"name": CANARY}, "run": "r1"}
        return sign(record.kind, record.subjects, said, self.bench.keys[CANARY])

    def carry_out(self) -> Passed | NotJudged | Refused | Inconclusive:
        given = RolledOut(
            pointers=self.pointers,
            platform=self.world,
            proven=self.proven,
            rollout=self.rollout,
            policy=read_given(self.bench.policy),
            sign=self.sign,
            run="r1",
            uid="u1",
            wait=1,
            clock=self.world.clock,
            sleep=self.world.sleep,
        )
        return judge_rollout(given, subjects=self.proven.subjects)

    @property
    def share(self) -> int | None:
        """The share of the traffic that the version has now."""
        found = self.pointers.traffic()
        return found.share if found else None

    @property
    def record(self) -> bytes:
        """The record that the next attempt goes on from."""
        kept = self.pointers.kept("r1", "canary.json")
        assert kept
        return kept


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    (tmp_path / "bench").mkdir()
    monkeypatch.setenv("LOCKGATE_IO", str(tmp_path / "bench"))
    return Case(tmp_path / "bench")


def test_a_good_version_gets_each_share_for_its_hold_and_keeps_the_last(case: Case) -> None:
    verdict = case.carry_out()
    assert isinstance(verdict, Passed)
    assert verdict.notes == ()
    assert [share for n, share in enumerate(case.world.shares) if case.world.shares[n - 1 : n] != [share]] == [10, 50]
    assert case.share == 50  # promote moves live next: users do not go back and forth
    shares = verdict.measurements["shares"]
    assert isinstance(shares, list)
    assert [each["seconds"] for each in shares] == [12, 12]
    total = sum(each["requests"] for each in shares), sum(each["requests_of_live"] for each in shares)
    assert total == (case.world.servers[case.proven.digest].counted["all"], case.world.servers[OLD].counted["all"])


@pytest.mark.parametrize(
    ("server", "rule"),
    [
        (Server(errors=5), "canary:error_rate:no_worse_than_live"),
        (Server(positive=10), "canary:answer_shift:at_most"),
    ],
)
def test_a_worse_version_is_refused_at_its_first_share_and_everything_is_on_live(
    case: Case, server: Server, rule: str
) -> None:
    case.world.servers[case.proven.digest] = server
    verdict = case.carry_out()
    assert isinstance(verdict, Refused)
    assert [reason.rule for reason in verdict.reasons] == [rule]
    assert verdict.reasons[0].why
    assert (case.share, case.world.shares[-1], set(case.world.shares)) == (None, None, {10, None})
    assert case.bench.get("traffic.json") is None
    assert case.world.now < 12


def test_too_little_traffic_is_inconclusive_and_says_how_much_it_takes(case: Case) -> None:
    case.world.rate = 1
    verdict = case.carry_out()
    assert isinstance(verdict, Inconclusive)
    assert "requests of the candidate would decide it" in "".join(verdict.reasons[0].lines)
    assert case.share is None


def test_no_request_at_all_is_inconclusive(case: Case) -> None:
    case.world.rate = 0
    verdict = case.carry_out()
    assert isinstance(verdict, Inconclusive)
    assert len(verdict.reasons) == 2


@pytest.mark.parametrize("rollout", [ABTest(share=40, hold="15s"), Shadow(share=100, hold="15s")])
def test_other_rollouts_have_one_share(case: Case, rollout: Judged) -> None:
    case.rollout = rollout
    verdict = case.carry_out()
    assert isinstance(verdict, Passed), verdict.reasons
    assert {share for share in case.world.shares if share} == {rollout.share if not isinstance(rollout, Canary) else 0}


def test_the_first_version_has_nobody_to_compare_with_and_the_verdict_says_so(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    first = Case(tmp_path / "bench", live=False)
    verdict = first.carry_out()
    assert isinstance(verdict, NotJudged)
    assert "no rule of [[canary]] was judged" in verdict.notes[0]
    assert (first.world.calls, first.share) == (0, None)


def test_a_spec_without_a_rollout_is_not_judged(case: Case) -> None:
    case.rollout = None
    with pytest.raises(BadCall, match="names no rollout"):
        case.carry_out()


def test_a_platform_that_compares_nothing_says_so_before_any_request_is_copied(case: Case) -> None:
    case.rollout, case.world.compares = Shadow(share=50, hold="15s"), False
    policy = case.bench.policy
    policy.write_text(policy.read_text() + RULES.split("\n\n")[1].replace("error_rate", "disagreement_rate"))
    policy.write_text(
        policy.read_text().replace('disagreement_rate"\nno_worse_than_live_by', 'disagreement_rate"\nat_most')
    )
    with pytest.raises(BadCall, match="nothing compares a shadow's answers"):
        case.carry_out()
    assert case.world.calls == 0


def test_live_moves_meanwhile(case: Case) -> None:
    case.world.at[5] = lambda: case.bench.live("sha256:" + "c" * 64, 2)
    with pytest.raises(Refusal, match="live has moved"):
        case.carry_out()
    assert case.bench.get("traffic.json") is None


def test_another_run_takes_the_candidate_and_keeps_its_own_share(case: Case) -> None:
    other = {"model": case.bench.model, "rollout": Canary(shares=(1,)).to_json(), "uid": "u2", "run": "r2"}
    other |= {
        "live": {"bundle": OLD, "generation": 1},
        "until": (datetime.now(UTC) + timedelta(seconds=90)).isoformat(),
    }

    def taken() -> None:
        case.hold("r2", LEASE)
        case.bench.put("traffic.json", sign("traffic", {"bundle": OLD}, other, case.bench.keys[CANARY]))

    case.world.at[5] = taken
    with pytest.raises(Refusal, match="no longer held by this run"):
        case.carry_out()
    assert case.bench.get("traffic.json") is not None


def test_the_lease_is_renewed_before_it_ends(case: Case) -> None:
    case.hold("r1", LEASE / 3)
    before = case.bench.get("candidate.json")
    assert isinstance(case.carry_out(), Passed)
    after = case.bench.get("candidate.json")
    assert after["lease_until"] > before["lease_until"]
    assert {**after, "lease_until": ""} == {**before, "lease_until": ""}


def test_a_version_whose_server_ends_by_itself_is_refused(case: Case) -> None:
    case.world.at[5] = case.world.servers[case.proven.digest].restart
    verdict = case.carry_out()
    assert isinstance(verdict, Refused)
    assert [reason.rule for reason in verdict.reasons] == ["canary:restarts"]
    assert case.share is None


def test_a_machine_that_restarts_both_versions_is_not_the_versions_fault(case: Case) -> None:
    def restart() -> None:
        for server in case.world.servers.values():
            server.restart()

    case.world.at[5] = restart
    verdict = case.carry_out()
    assert isinstance(verdict, Passed)
    assert verdict.measurements["restarts"] == {"candidate": 1, "live": 1}


def test_a_version_that_stops_answering_is_refused_and_live_that_does_is_an_error(case: Case) -> None:
    case.world.at[5] = lambda: setattr(case.world.servers[case.proven.digest], "silent", True)
    verdict = case.carry_out()
    assert isinstance(verdict, Refused)
    assert [reason.rule for reason in verdict.reasons] == ["canary:answers"]
    case.world.servers[case.proven.digest].silent = False
    case.world.servers[OLD].silent = True
    with pytest.raises(OutsideFailed, match="no server answers"):
        case.carry_out()
    assert case.share is None


def test_a_short_silence_is_waited_for(case: Case) -> None:
    server = case.world.servers[case.proven.digest]
    case.world.at[5] = lambda: setattr(server, "silent", True)
    case.world.at[9] = lambda: setattr(server, "silent", False)
    assert isinstance(case.carry_out(), Passed)


def test_metrics_of_another_bundle_are_not_taken_for_the_versions(case: Case) -> None:
    case.world.servers[case.proven.digest].text = lambda model, bundle: Server().text(model, OLD)  # type: ignore[method-assign]
    verdict = case.carry_out()
    assert isinstance(verdict, Refused)
    assert "does not show the metrics of" in verdict.reasons[0].message


def calls_of(case: Case) -> int:
    case.carry_out()
    return case.world.calls


@pytest.mark.parametrize("bad", [False, True])
def test_killed_anywhere_and_tried_again_it_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: bool
) -> None:
    def made(name: str) -> Case:
        (tmp_path / name).mkdir()
        monkeypatch.setenv("LOCKGATE_IO", str(tmp_path / name))
        case = Case(tmp_path / name)
        case.world.servers[case.proven.digest].errors = 5 if bad else 0
        return case

    points = calls_of(made("whole"))
    for number in range(1, points + 1, max(1, points // 8)):
        case = made(f"killed-{number}")
        case.world.dies = number
        with pytest.raises(Killed):
            case.carry_out()
        verdict = case.carry_out()
        assert isinstance(verdict, Refused if bad else Passed), number
        shares = verdict.measurements["shares"]
        assert isinstance(shares, list)
        counted = sum(each["requests"] for each in shares)
        assert 0 < counted <= case.world.servers[case.proven.digest].counted["all"], number
        assert (case.share is None) == bad
        if not bad:
            assert [each["seconds"] for each in shares] == [12, 12]


def forged(case: Case, change: Callable[[dict[str, object]], None], key: str = CANARY) -> None:
    found = verify(case.record, case.bench.trust, signer=CANARY, kind="canary-state")
    said = dict(found.predicate)
    change(said)
    case.pointers.keep("r1", "canary.json", canonical(sign(found.kind, found.subjects, said, case.bench.keys[key])))


def test_a_record_that_canary_did_not_sign_for_this_run_is_refused(case: Case) -> None:
    case.world.rate = 1
    case.carry_out()
    kept = case.record
    for name, value in (("run", "r0"), ("uid", "u0"), ("rollout", Canary(shares=(1,)).to_json())):
        case.pointers.keep("r1", "canary.json", kept)
        forged(case, lambda said, name=name, value=value: said.update({name: value}))  # type: ignore[misc]
        with pytest.raises(BadCall, match="not of this run"):
            case.carry_out()
    case.pointers.keep("r1", "canary.json", kept)
    forged(case, lambda said: None, key="stranger")
    with pytest.raises(ProofError):
        case.carry_out()
    for content in (b"", b"{}", b"\xff"):
        case.pointers.keep("r1", "canary.json", content)
        with pytest.raises(ProofError):
            case.carry_out()


def test_the_record_shows_the_figures_as_they_move(case: Case) -> None:
    case.carry_out()
    said = json.loads(
        json.dumps(dict(verify(case.record, case.bench.trust, signer=CANARY, kind="canary-state").predicate))
    )
    figures = said["figures"]
    assert figures["rules"]["canary:error_rate:no_worse_than_live"]["standing"] == "within"
    assert [each["share"] for each in figures["shares"]] == [10, 50]
    assert replace(CANARIES) == CANARIES and figures["rollout"] == CANARIES.to_json()
