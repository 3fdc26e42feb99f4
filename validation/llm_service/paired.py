"""Is the new side no worse than the old one, judged by pairs of answers to the same prompts? Pure.

The difference of two paired proportions with the score interval of Tango (Statistics in Medicine 17, 1998, 891-908),
whose lower limit inverts his non-inferiority test. Unlike Wald's it keeps a width where no pair differs, so a small
number of equal pairs proves nothing: without a pair that differs, 52 are needed for a margin of 0.05 at 0.95.
A single proportion has the interval of Wilson (JASA 22, 1927, 209-212).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

_STEPS = 60
"""Halvings of an interval of width 1: to the last digit of a float."""


class Comparison(StrEnum):
    """How the new side compares with the old one."""

    BETTER = "better"
    NOT_WORSE = "not worse"
    WORSE = "worse"
    NOT_ENOUGH_DATA = "not enough data"

    @property
    def passed(self) -> bool:
        """Whether it is shown that the new side is at most the margin worse."""
        return self in (Comparison.BETTER, Comparison.NOT_WORSE)


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`, each a one-sided limit."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Pairs:
    """`count` pairs, in `lost` of which only the old side was good, in `gained` only the new one, in `both` each."""

    count: int
    both: int
    lost: int
    gained: int

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> Pairs:
        """From (old was good, new was good)."""
        seen = list(pairs)
        return cls(len(seen), seen.count((True, True)), seen.count((True, False)), seen.count((False, True)))

    @property
    def old(self) -> float:
        """The share in which the old side was good; 0 without pairs."""
        return (self.both + self.lost) / self.count if self.count else 0.0

    @property
    def new(self) -> float:
        """The same of the new side."""
        return (self.both + self.gained) / self.count if self.count else 0.0

    @property
    def difference(self) -> float:
        """How much better the new side is; negative: worse."""
        return (self.gained - self.lost) / self.count if self.count else 0.0

    def interval(self, confidence: float) -> Interval:
        """Tango's limits of the difference, each of which is true with at least `confidence` (so the interval from one
        to the other with 2 x confidence - 1). From -1 to 1 without pairs."""
        if not self.count:
            return Interval(-1.0, 1.0)
        z = NormalDist().inv_cdf(confidence)
        return Interval(
            _crossing(lambda delta: self._score(delta) > z, -1.0, self.difference),
            _crossing(lambda delta: self._score(delta) > -z, self.difference, 1.0),
        )

    def compare(self, margin: float, confidence: float) -> Comparison:
        """Better where the lower limit is above 0, not worse where it is above -margin. Else worse where the upper
        limit is below 0, and else there is not enough data."""
        limits = self.interval(confidence)
        if limits.low > -margin:
            return Comparison.BETTER if limits.low > 0 else Comparison.NOT_WORSE
        return Comparison.WORSE if limits.high < 0 else Comparison.NOT_ENOUGH_DATA

    def _score(self, delta: float) -> float:
        """Tango's score statistic of the hypothesis that the difference is `delta`; falls with it."""
        n, lost, gained = self.count, self.lost, self.gained
        spread = delta * (1 - delta)
        b = (2 * n + lost - gained) * delta - lost - gained
        # The likelihood's maximum for the share of `lost`, where the difference is held at delta.
        share = (math.sqrt(max(b * b + 8 * n * lost * spread, 0.0)) - b) / (4 * n)
        variance = n * (2 * share + spread)
        above = gained - lost - n * delta
        if variance <= 0:
            return math.copysign(math.inf, above) if above else 0.0
        return above / math.sqrt(variance)


def wilson(good: int, of: int, confidence: float) -> Interval:
    """Wilson's limits of a share of `good` in `of`, each true with `confidence`. From 0 to 1 where `of` is 0."""
    if not of:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(confidence)
    share, weight = good / of, z * z / of
    half = z * math.sqrt(share * (1 - share) / of + weight / (4 * of))
    middle = share + weight / 2
    return Interval(max(0.0, (middle - half) / (1 + weight)), min(1.0, (middle + half) / (1 + weight)))


def _crossing(above: Callable[[float], bool], low: float, high: float) -> float:
    """Where `above`, true on the left, becomes false between `low` and `high`."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) else (low, middle)
    return (low + high) / 2
