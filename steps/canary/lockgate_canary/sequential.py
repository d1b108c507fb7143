"""Confidence sequences for a proportion, and for the difference between two versions.

A confidence sequence is an interval that contains the true value at all times at once, with the stated probability. So
one may look after every request and stop at any look, which no interval for a fixed number of requests allows.

The method is the mixture of exponential martingales (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49, 2021; for errors in canaries: Lindon and
Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022). For a rate p and a tilt t,

    exp(t * hits - tries * log(1 + p * (exp(t) - 1)))

is a martingale that starts at 1, and so is its mean over the fixed tilts in `TILTS`. By Ville's inequality it ever
reaches 1/alpha with a probability of at most alpha. So a rate at which it reaches 1/alpha is rejected: positive tilts
reject rates that are too low, negative tilts those that are too high. It holds for any number of requests, without an
approximation. It needs counts only: neither the order of the requests nor the number of looks plays a role.

The difference between two versions multiplies the martingales of both, with opposite tilts. The ratio of the tilts is
the planned ratio of the requests: then the rate that both have in common cancels out. What is left of it is replaced by
the least favourable rate inside live's own confidence sequence, which takes a tenth of alpha (Berger and Boos, "P
values maximized over a confidence set for the nuisance parameter", JASA 89, 1994).

- A rate may change over time: `log` is concave, so the statement is then about the mean rate of the requests so far.
- Versions are compared stage by stage, since the share of the candidate changes between the stages of a canary. Else a
  busy hour with many errors and a small share would count for live only (Simpson's paradox). The statement is about a
  difference that all stages have in common; if they differ, about a mean of them.
- A shadow answers copies of live's requests, so the two are dependent. If hits of the two versions come together or
  independently, the mean of the product is at most that of independent requests, so the limits hold. They would not
  hold if a shadow were hit more rarely where live is hit.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Side = Literal[1, -1]  # 1 rejects values that are too low, -1 those that are too high

TILTS: Floats = np.geomspace(0.01, 3.2, 32)  # log odds ratios: from a hardly visible change to one of 25 times
_FOR_LIVE = 0.1  # the share of alpha that live's own rate takes
_HALVINGS = 32


@dataclass(frozen=True)
class Stage:
    """Hits and tries of both versions while the planned ratio of their requests was the same.

    Each is a number, or an array of simulations. ratio: the planned requests of the candidate for each one of live.
    """

    hits: ArrayLike
    tries: ArrayLike
    live_hits: ArrayLike
    live_tries: ArrayLike
    ratio: float = 1.0


def proportion(hits: ArrayLike, tries: ArrayLike, alpha: float) -> tuple[Floats, Floats]:
    """Return the lower and upper limit of a rate: the confidence sequence with error probability alpha."""
    zero = np.zeros(np.broadcast_shapes(np.shape(hits), np.shape(tries)))
    one = zero + 1
    low = _edge(lambda rate: rejects(hits, tries, rate, 1, alpha / 2), one, zero)
    high = _edge(lambda rate: rejects(hits, tries, rate, -1, alpha / 2), zero, one)
    return low, high


def rejects(hits: ArrayLike, tries: ArrayLike, rate: ArrayLike, side: Side, alpha: float) -> Bools:
    """Return whether a rate is surely too low (side 1) or too high (side -1), with error probability alpha."""
    tilts = side * TILTS
    grown = tilts * _column(hits) - _column(tries) * np.log1p(_column(rate) * np.expm1(tilts))
    return _reaches(grown, alpha)


def difference(stages: Sequence[Stage], alpha: float) -> tuple[Floats, Floats]:
    """Return the lower and upper limit of the candidate's rate minus live's, with error probability alpha.

    stages: one for each planned share, also those without a request so far.
    """
    live = live_limits(stages, alpha)
    one = np.ones(np.broadcast_shapes(*(np.shape(part) for s in stages for part in (s.hits, s.tries, s.live_hits))))
    low = _edge(lambda value: rejects_difference(stages, value, 1, alpha, live), one, -one)
    high = _edge(lambda value: rejects_difference(stages, value, -1, alpha, live), -one, one)
    # A difference cannot be below minus live's rate, nor above what is left to 1.
    met = [np.asarray(each.tries) > 0 for each in stages]
    known = np.any(met, axis=0)
    lowest = np.min([np.where(yes, limits[0], 1) for yes, limits in zip(met, live, strict=True)], axis=0)
    highest = np.max([np.where(yes, limits[1], 0) for yes, limits in zip(met, live, strict=True)], axis=0)
    return np.maximum(low, np.where(known, -highest, -1)), np.minimum(high, np.where(known, 1 - lowest, 1))


def live_limits(stages: Sequence[Stage], alpha: float) -> list[tuple[Floats, Floats]]:
    """Return the limits of live's rate in each stage, for `rejects_difference`."""
    return [proportion(each.live_hits, each.live_tries, _FOR_LIVE * alpha / len(stages)) for each in stages]


def rejects_difference(
    stages: Sequence[Stage], value: ArrayLike, side: Side, alpha: float, live: Sequence[tuple[Floats, Floats]]
) -> Bools:
    """Return whether a difference is surely too low (side 1) or too high (side -1).

    alpha: the error probability of both sides together. live: from `live_limits`, with the same alpha.
    """
    wanted, grown = _column(value), np.zeros(1)
    for stage, limits in zip(stages, live, strict=True):
        most = max(1.0, stage.ratio)  # so that no tilt is larger than the largest of TILTS
        tilts, opposite = side * TILTS / most, -side * TILTS * stage.ratio / most
        grow, shrink = np.expm1(tilts), np.expm1(opposite)
        tries, live_tries = _column(stage.tries), _column(stage.live_tries)
        low, high = map(_column, limits)

        # The sum of the two logarithms below is largest at one rate of live (where its derivative is 0) or at a limit.
        with np.errstate(invalid="ignore", divide="ignore"):
            peak = -(tries * grow + live_tries * shrink * (1 + wanted * grow)) / (grow * shrink * (tries + live_tries))
        peak = np.clip(np.clip(np.nan_to_num(peak), -wanted, 1 - wanted), low, high)
        cost = np.full(1, -np.inf)
        for rate in (low, peak, high):
            rate_of_candidate = np.clip(rate + wanted, 0, 1)
            both = tries * np.log1p(rate_of_candidate * grow) + live_tries * np.log1p(rate * shrink)
            cost = np.maximum(cost, both)
        grown = grown + tilts * _column(stage.hits) + opposite * _column(stage.live_hits) - cost
    return _reaches(grown, (1 - _FOR_LIVE) * alpha / 2)


def _reaches(grown: Floats, alpha: float) -> Bools:
    """Whether the mean of the martingales (last axis: tilts), given by their logarithms, reaches 1/alpha."""
    top = grown.max(axis=-1)
    mean = top + np.log(np.exp(grown - top[..., None]).mean(axis=-1))
    return np.asarray(mean >= -math.log(alpha))


def _edge(rejected: Callable[[Floats], Bools], inside: Floats, outside: Floats) -> Floats:
    """The end of the rejected values that begin at `outside`, by halving; rounded so that more is inside."""
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        out = rejected(middle)
        inside, outside = np.where(out, inside, middle), np.where(out, middle, outside)
    return outside


def _column(value: ArrayLike) -> Floats:
    return np.asarray(value, dtype=np.float64)[..., None]
