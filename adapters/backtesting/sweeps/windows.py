"""The windows of a walk-forward. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.sweeps import WalkForwardAsked


@dataclass(frozen=True, slots=True)
class Span:
    """Bars from number `first` on, before number `last`."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Window:
    """Bars to choose by, and those right behind them, which the choice has not seen."""

    train: Span
    test: Span


def windows(bars: int, asked: WalkForwardAsked) -> tuple[Window, ...]:
    """All whole windows in `bars` bars, the oldest first. Raises ValueError where there is none."""
    length = asked.train_bars + asked.test_bars
    if bars < length:
        raise ValueError(
            f"there are {bars} bars, and a window has {asked.train_bars} to train and {asked.test_bars} to test: "
            "nothing would be tested. Give shorter windows, or more bars (start, end)"
        )
    return tuple(
        Window(Span(first, first + asked.train_bars), Span(first + asked.train_bars, first + length))
        for first in range(0, bars - length + 1, asked.step)
    )
