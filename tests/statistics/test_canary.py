"""Error rates and speed of the canary's confidence sequences in simulated rollouts; prints a table of the figures.

Only `make test-statistics` runs this. Each rollout is looked at after every request of the candidate at first, then
after every ten, and is stopped at the first look at which a rule is beyond its limit. Draws with the same counts are
computed once.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from lockgate_canary.sequential import Stage, live_limits, proportion, rejects, rejects_difference
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Bools = NDArray[np.bool_]
Counted = list[tuple[Whole, int, Whole, int, float]]  # of each stage: hits, tries, live's hits, live's tries, ratio

DRAWS = int(os.environ.get("LOCKGATE_DRAWS", "2000"))
ALPHA = 0.05
SLACK = 3 * math.sqrt(ALPHA * (1 - ALPHA) / DRAWS)
EVERY = np.ones(DRAWS, dtype=bool)
OFTEN = 300  # requests of the candidate, after each of which one looks


@dataclass(frozen=True)
class Rollout:
    """Looks at which the draws were beyond the limit for the first time (-1: never), and those within it at the end."""

    looks: Sequence[int]  # requests of the candidate
    stopped: Whole
    within: Bools

    @property
    def refused(self) -> float:
        """The share of the draws that were stopped."""
        return float((self.stopped >= 0).mean())

    def requests(self, share: float) -> float:
        """Requests of the candidate after which this share of the draws was stopped."""
        at = np.array([*self.looks, np.inf])[self.stopped]  # -1: never
        return float(np.quantile(at, share, method="higher"))


def looks(most: int) -> list[int]:
    """After every request, then after every ten, then after every hundred."""
    return [*range(1, OFTEN), *range(OFTEN, min(most, 5000), 10), *range(5000, most + 1, 100)]


def compared(stages: Counted, limit: float, side: Literal[1, -1], alpha: float, which: Bools) -> Bools:
    """Whether each draw, of those asked for, rejects a difference of `limit` as too low (side 1) or too high (-1)."""
    if not which.any():
        return np.zeros(len(which), dtype=bool)
    hits = np.stack([part[which] for hit, _, live_hit, _, _ in stages for part in (hit, live_hit)])
    unique, back = np.unique(hits, axis=1, return_inverse=True)
    made = [
        Stage(unique[2 * at], tries, unique[2 * at + 1], live_tries, ratio)
        for at, (_, tries, _, live_tries, ratio) in enumerate(stages)
    ]
    limits = []
    for each in made:
        lives, again = np.unique(np.asarray(each.live_hits), return_inverse=True)
        few = Stage(0, 0, lives, each.live_tries)
        # As many stages as there are share the error probability of live's rate.
        low, high = live_limits([few], alpha / len(made))[0]
        limits.append((low[again], high[again]))
    found = np.zeros(len(which), dtype=bool)
    found[which] = rejects_difference(made, limit, side, alpha, limits)[np.asarray(back).ravel()]
    return found


def rollout(
    candidate: float, live: float, limit: float, *, ratio: float = 1.0, most: int, alpha: float = ALPHA, seed: int = 1
) -> Rollout:
    """Follow one share of the requests: how often, and when, the difference is beyond the limit."""
    random, at_looks = np.random.default_rng(seed), looks(most)
    hits, live_hits = np.zeros((2, DRAWS), dtype=np.int64)
    stopped, tries, live_tries = np.full(DRAWS, -1), 0, 0
    for number, requests in enumerate(at_looks):
        hits += random.binomial(requests - tries, candidate, DRAWS)
        both = round(requests / ratio)
        live_hits += random.binomial(both - live_tries, live, DRAWS)
        tries, live_tries = requests, both
        stage = (hits, tries, live_hits, live_tries, ratio)
        stopped[compared([stage], limit, 1, alpha, stopped < 0)] = number
        if (stopped >= 0).all():
            break
    within = compared([stage], limit, -1, alpha, stopped < 0)
    return Rollout(at_looks, stopped, within)


@pytest.mark.parametrize("share", [5, 50])
@pytest.mark.parametrize("rate", [0.002, 0.01, 0.1, 0.5])
def test_a_candidate_as_good_as_live_is_hardly_ever_stopped(rate: float, share: int) -> None:
    """The limit is the true difference, 0: the case in which a false alarm is the most likely."""
    found = rollout(rate, rate, 0.0, ratio=share / (100 - share), most=10_000)
    print(f"same rate {rate}, share {share} %, no margin: stopped {found.refused:.4f}")
    assert found.refused <= ALPHA + SLACK


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_a_rate_at_its_limit_is_hardly_ever_beyond_it(rate: float) -> None:
    random, hits, beyond, tries = np.random.default_rng(2), np.zeros(DRAWS, dtype=np.int64), np.zeros(DRAWS, bool), 0
    below = beyond.copy()
    for requests in looks(10_000):
        hits += random.binomial(requests - tries, rate, DRAWS)
        tries = requests
        unique, back = np.unique(hits, return_inverse=True)
        beyond |= rejects(unique, tries, rate, 1, ALPHA / 2)[back]
        below |= rejects(unique, tries, rate, -1, ALPHA / 2)[back]
    print(f"rate {rate} at its limit: beyond {beyond.mean():.4f}, within {below.mean():.4f}")
    assert (beyond | below).mean() <= ALPHA + SLACK


@pytest.mark.parametrize("share", [5, 50])
@pytest.mark.parametrize(("live", "margin"), [(0.01, 0.0), (0.01, 0.005), (0.05, 0.0), (0.05, 0.01), (0.05, 0.025)])
def test_a_candidate_with_twice_the_errors_is_stopped(live: float, margin: float, share: int) -> None:
    most = 60_000 if margin == 0.005 else 20_000
    found = rollout(2 * live, live, margin, ratio=share / (100 - share), most=most)
    after = [f"{found.requests(part):,.0f}" for part in (0.5, 0.9)]
    print(
        f"errors {live} -> {2 * live}, margin {margin}, share {share} %: stopped {found.refused:.3f}, "
        f"half after {after[0]} requests of the candidate, nine of ten after {after[1]}"
    )
    assert found.refused >= 0.95
    assert not found.within.any()


@pytest.mark.parametrize(("rate", "margin", "most"), [(0.01, 0.01, 8_000), (0.01, 0.005, 25_000), (0.05, 0.025, 8_000)])
def test_a_good_candidate_passes_with_enough_requests(rate: float, margin: float, most: int) -> None:
    for alpha in (ALPHA, ALPHA / 4):
        random = np.random.default_rng(3)
        passes = []
        for requests in (most // 8, most // 4, most // 2, most):
            hits, live_hits = random.binomial(requests, rate, (2, DRAWS))
            stage = (hits, requests, live_hits, requests, 1.0)
            passes.append((requests, compared([stage], margin, -1, alpha, EVERY).mean()))
        said = ", ".join(f"{requests:,}: {share:.2f}" for requests, share in passes)
        print(f"same rate {rate}, margin {margin}, alpha {alpha}: passes after {said}")
        shares = [share for _, share in passes]
        assert shares == sorted(shares)
        assert shares[0] <= 0.6  # too little traffic is inconclusive
        assert shares[-1] >= 0.8


def staged(plan: Sequence[tuple[float, float, float, int]], looks: int, seed: int) -> Iterator[tuple[int, Counted]]:
    """Each look at rollouts with several shares: the candidate's requests so far, and the stages' counts.

    plan: ratio, the candidate's rate, live's rate, and the candidate's requests of each stage.
    """
    random, zero = np.random.default_rng(seed), np.zeros(DRAWS, dtype=np.int64)
    done: Counted = [(zero, 0, zero, 0, ratio) for ratio, *_ in plan]
    for at, (ratio, candidate, live, total) in enumerate(plan):
        for _ in range(looks):
            few, many = total // looks, round(total / looks / ratio)
            hits, tries, live_hits, live_tries, _ = done[at]
            hits, live_hits = (
                hits + random.binomial(few, candidate, DRAWS),
                live_hits + random.binomial(many, live, DRAWS),
            )
            done[at] = hits, tries + few, live_hits, live_tries + many, ratio
            yield sum(tries for _, tries, *_ in done), done


def test_a_busy_hour_with_a_larger_share_does_not_stop_a_good_candidate() -> None:
    """Both versions fail five times as often in the last stage: pooled over the stages, the candidate looks worse."""
    plan = [(5 / 95, 0.01, 0.01, 2000), (25 / 75, 0.01, 0.01, 2000), (1.0, 0.05, 0.05, 2000)]
    beyond, below = np.zeros((2, DRAWS), dtype=bool)
    for _, counted in staged(plan, 40, seed=4):
        beyond |= compared(counted, 0.0, 1, ALPHA, ~beyond)
        below |= compared(counted, 0.0, -1, ALPHA, ~below)
    hits, live_hits = np.sum([part[0] for part in counted], axis=0), np.sum([part[2] for part in counted], axis=0)
    tries, live_tries = sum(part[1] for part in counted), sum(part[3] for part in counted)
    together: Counted = [(hits, tries, live_hits, live_tries, tries / live_tries)]
    pooled = compared(together, 0.0, 1, ALPHA, EVERY).mean()
    print(f"busy last stage: beyond {beyond.mean():.4f}, better {below.mean():.4f}; if pooled: beyond {pooled:.3f}")
    assert (beyond | below).mean() <= ALPHA + SLACK
    assert pooled > 0.9


def test_twice_the_errors_are_found_over_all_stages() -> None:
    plan = [(5 / 95, 0.1, 0.05, 500), (25 / 75, 0.1, 0.05, 2500), (1.0, 0.1, 0.05, 5000)]
    after = np.full(DRAWS, np.inf)
    for requests, counted in staged(plan, 25, seed=5):
        after[compared(counted, 0.01, 1, ALPHA / 4, np.isinf(after))] = requests
    print(
        f"shares 5, 25, 50 %, errors 0.05 -> 0.1, margin 0.01, one of four rules: "
        f"stopped {np.isfinite(after).mean():.3f}, half after {np.median(after):,.0f} requests of the candidate"
    )
    assert np.isfinite(after).mean() >= 0.95


def test_the_copies_of_a_shadow_may_fail_together_with_live() -> None:
    """Every tenth request is copied, and both versions fail on the same requests."""
    random, stopped = np.random.default_rng(7), np.zeros(DRAWS, dtype=bool)
    hits, others = np.zeros((2, DRAWS), dtype=np.int64)
    for look in range(1, 401):
        hits, others = hits + random.binomial(10, 0.05, DRAWS), others + random.binomial(90, 0.05, DRAWS)
        stopped |= compared([(hits, 10 * look, hits + others, 100 * look, 0.1)], 0.0, 1, ALPHA, ~stopped)
    print(f"shadow that fails with live: stopped {stopped.mean():.4f}")
    assert stopped.mean() <= ALPHA + SLACK


def test_a_share_that_is_drawn_at_random_changes_nothing() -> None:
    """The requests of each version are then random too; here one look after every ten requests of both."""
    draws = min(DRAWS, 300)
    random = np.random.default_rng(6)
    stopped = np.zeros(draws, bool)
    counts = np.zeros((4, draws), dtype=np.int64)
    for _ in range(300):
        few = random.binomial(10, 0.25, draws)
        counts += [random.binomial(few, 0.05), few, random.binomial(10 - few, 0.05), 10 - few]
        stages = [Stage(counts[0], counts[1], counts[2], counts[3], 25 / 75)]
        stopped |= rejects_difference(stages, 0.0, 1, ALPHA, live_limits(stages, ALPHA))
    print(f"random share of 25 %: stopped {stopped.mean():.4f}")
    assert stopped.mean() <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / draws)


def test_a_whole_policy_keeps_the_error_probability() -> None:
    """Three rules against live at the true difference, each with a third of alpha."""
    found = [
        rollout(rate, rate, 0.0, most=3000, alpha=ALPHA / 3, seed=seed) for seed, rate in enumerate((0.01, 0.1, 0.4))
    ]
    alarms = np.any([each.stopped >= 0 for each in found], axis=0).mean()
    print(f"three rules at their limits: stopped {alarms:.4f}")
    assert alarms <= ALPHA + SLACK


def test_the_width_beside_an_interval_for_one_look() -> None:
    """The price of looking at any time: this many times the half-width of Wald's interval for one look."""
    for hits, tries in ((100, 10_000), (1000, 10_000), (5000, 10_000)):
        low, high = proportion(hits, tries, ALPHA)
        wald = 1.96 * math.sqrt(hits / tries * (1 - hits / tries) / tries)
        times = float(high - low) / 2 / wald
        print(f"{hits} of {tries}: {times:.2f} times as wide")
        assert 1 < times < 2
