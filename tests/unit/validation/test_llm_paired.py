"""The paired test against published examples, and by counting all outcomes of small samples."""

from __future__ import annotations

from math import comb
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.llm_service.paired import Comparison, Pairs, wilson

TWO_SIDED_95 = 0.975


@pytest.mark.parametrize(
    ("pairs", "confidence", "low", "high"),
    [
        # Bentur et al. 2009, in Fagerland, Lydersen and Laake, "Recommended tests and confidence intervals for paired
        # binomial proportions" (Statistics in Medicine 33, 2014), table of Tango's intervals.
        (Pairs(21, both=1, lost=7, gained=1), TWO_SIDED_95, -0.517, -0.026),
        # Cavo et al. 2012, as R's contingencytables gives it.
        (Pairs(161, both=59, lost=16, gained=6), TWO_SIDED_95, -0.1240, -0.0054),
        # R's PropCIs: scoreci.mp(25, 28, 618) at 90 %.
        (Pairs(618, both=400, lost=25, gained=28), 0.95, -0.0148, 0.0247),
    ],
)
def test_the_interval_is_the_published_one(pairs: Pairs, confidence: float, low: float, high: float) -> None:
    places = 3 if pairs.count == 21 else 4
    limits = pairs.interval(confidence)
    assert (round(limits.low, places), round(limits.high, places)) == (low, high)


@pytest.mark.parametrize("count", [1, 10, 51, 52, 240])
def test_without_a_pair_that_differs_the_interval_is_as_wide_as_the_sample_is_small(count: int) -> None:
    """In closed form: z squared / (n + z squared)."""
    limits = Pairs(count, both=count, lost=0, gained=0).interval(0.95)
    z2 = NormalDist().inv_cdf(0.95) ** 2
    assert limits.high == pytest.approx(z2 / (count + z2)) == pytest.approx(-limits.low)


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        (Pairs(0, 0, 0, 0), Comparison.NOT_ENOUGH_DATA),
        (Pairs(51, 51, 0, 0), Comparison.NOT_ENOUGH_DATA),  # equal, but too few to say so
        (Pairs(52, 52, 0, 0), Comparison.NOT_WORSE),
        (Pairs(52, 0, 0, 0), Comparison.NOT_WORSE),  # whether that says anything is the control's question
        (Pairs(240, 200, 10, 10), Comparison.NOT_WORSE),
        (Pairs(240, 150, 30, 30), Comparison.NOT_ENOUGH_DATA),
        (Pairs(240, 200, 5, 30), Comparison.BETTER),
        (Pairs(240, 200, 30, 5), Comparison.WORSE),
        (Pairs(10, 0, 10, 0), Comparison.WORSE),
        (Pairs(10, 0, 0, 10), Comparison.BETTER),
    ],
)
def test_verdicts(pairs: Pairs, verdict: Comparison) -> None:
    assert pairs.compare(0.05, 0.95) is verdict
    assert verdict.passed == (verdict in (Comparison.BETTER, Comparison.NOT_WORSE))


def test_a_side_that_is_worse_by_the_margin_passes_no_more_often_than_stated() -> None:
    """All outcomes of 60 pairs, at a true difference of exactly -margin: the error stays near 5 %, as a score test's
    does (it holds on average, not in every point)."""
    count, margin, passed = 60, 0.1, {}
    for lost_share in (0.1, 0.15, 0.25):
        gained_share = lost_share - margin
        equal = 1 - lost_share - gained_share
        passed[lost_share] = sum(
            comb(count, lost) * comb(count - lost, gained)
            * lost_share**lost * gained_share**gained * equal ** (count - lost - gained)
            for lost in range(count + 1)
            for gained in range(count - lost + 1)
            if gained - lost > -margin * count and Pairs(count, 0, lost, gained).compare(margin, 0.95).passed
        )  # fmt: skip
    assert all(0.005 < chance < 0.065 for chance in passed.values()), passed


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n))))
def test_limits_hold_the_difference_and_turn_with_the_sides(numbers: tuple[int, int, int]) -> None:
    count, lost, gained = numbers
    if lost + gained > count:
        lost, gained = lost // 2, gained // 2
    limits = Pairs(count, 0, lost, gained).interval(0.95)
    turned = Pairs(count, 0, gained, lost).interval(0.95)
    assert -1 <= limits.low <= (gained - lost) / count <= limits.high <= 1
    assert turned.low == pytest.approx(-limits.high, abs=1e-9)
    if lost < count - gained:
        assert Pairs(count, 0, lost + 1, gained).interval(0.95).low <= limits.low + 1e-9  # one more loss, never better


def test_pairs_are_counted() -> None:
    pairs = Pairs.of([(True, True), (True, False), (True, False), (False, True), (False, False)])
    assert pairs == Pairs(5, both=1, lost=2, gained=1)
    assert (pairs.old, pairs.new, pairs.difference) == (0.6, 0.4, -0.2)


def test_wilsons_interval_is_the_published_one() -> None:
    """Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3."""
    published = ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718))
    for good, of, low, high in published:
        limits = wilson(good, of, TWO_SIDED_95)
        assert (round(limits.low, 4), round(limits.high, 4)) == (low, high)
    assert (wilson(0, 0, 0.95).low, wilson(0, 0, 0.95).high) == (0.0, 1.0)
