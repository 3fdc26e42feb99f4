"""What of results is drawn: equity and drawdown of each engine, their distance, and the orders that differ. Pure.

Small enough to travel in a pod's output: of more bars than `POINTS`, those are kept between which nothing higher, lower
or further apart lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time

from pydantic import BaseModel, ConfigDict

from adapters.backtesting.comparing import RELATIVE, apart, compared, orders_that_differ
from adapters.backtesting.measures import drawdowns
from contracts.backtests import Divergence, FiguresModel, FillModel, Result

POINTS = 1_000
"""More than a screen has across."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Curve(_Frozen):
    """One engine's account at each of `Drawn.at`: an amount, and a fraction below the highest so far."""

    engine: str
    version: str
    equity: list[float]
    drawdown: list[float]
    figures: FiguresModel


class Mark(_Frozen):
    """An order that only one engine has so: when, and what differs."""

    at: datetime
    text: str


class Drawn(_Frozen):
    """One request as one engine did it, or as both did. `bars`: of how many, where fewer are drawn; `apart`: the
    distance of both equities, as a fraction of them, empty where there is one."""

    title: str
    request: dict[str, object]
    bars: int
    at: list[datetime]
    curves: list[Curve]
    apart: list[float]
    marks: list[Mark]
    divergence: Divergence | None = None


def drawn(results: Sequence[Result], relative: float = RELATIVE, points: int = POINTS) -> Drawn:
    """Of one result, or of two of the same request. Raises ValueError where there are no bars in common."""
    first = results[0]
    bars = min(len(result.equity) for result in results)
    if not bars:
        raise ValueError("the result has no bars: there is nothing to draw")
    equities = [[point.equity for point in result.equity[:bars]] for result in results]
    gaps = [apart(one, two) for one, two in zip(*equities, strict=True)] if len(equities) == 2 else []
    kept = _kept([*equities, gaps] if gaps else equities, points)
    both = len(results) == 2
    asked = first.request
    return Drawn(
        title=f"{asked.strategy} on {' and '.join(asked.symbols)}" if asked else f"a run of {first.engine}",
        request=asked.model_dump(mode="json", exclude_defaults=True) if asked else {},
        bars=bars,
        at=[_at(first, bar) for bar in kept],
        curves=[_curve(result, equity, kept) for result, equity in zip(results, equities, strict=True)],
        apart=[gaps[bar] for bar in kept] if gaps else [],
        marks=_marks(results[0], results[1], relative) if both else [],
        divergence=compared(results[0], results[1], relative=relative) if both else None,
    )


def _curve(result: Result, equity: Sequence[float], kept: Sequence[int]) -> Curve:
    below = drawdowns(equity, result.request.initial_cash if result.request else equity[0])
    return Curve(
        engine=result.engine,
        version=result.engine_version,
        equity=[equity[bar] for bar in kept],
        drawdown=[below[bar] for bar in kept],
        figures=result.figures,
    )


def _kept(lines: Sequence[Sequence[float]], points: int) -> list[int]:
    """The bars that are drawn: the first and the last, and of each of some equal parts the extremes of every line."""
    bars = len(lines[0])
    if bars <= points:
        return list(range(bars))
    parts = max(1, points // (2 * len(lines)))
    kept = {0, bars - 1}
    for part in range(parts):
        span = range(part * bars // parts, (part + 1) * bars // parts)
        for line in lines:
            kept |= {min(span, key=line.__getitem__), max(span, key=line.__getitem__)}
    return sorted(kept)


def _marks(a: Result, b: Result, relative: float) -> list[Mark]:
    found = [
        Mark(at=_filled(a.fills[number]), text=text) for number, text in orders_that_differ(a.fills, b.fills, relative)
    ]
    shorter = min(len(a.fills), len(b.fills))
    for result in (a, b):
        found += [
            Mark(
                at=_filled(fill),
                text=f"{fill.side.value} {fill.quantity:g} at {fill.price:.10g}: {result.engine} alone",
            )
            for fill in result.fills[shorter:]
        ]
    return found


def _filled(fill: FillModel) -> datetime:
    return fill.at or datetime.combine(fill.date, time(), UTC)


def _at(result: Result, bar: int) -> datetime:
    point = result.equity[bar]
    return point.at or datetime.combine(point.date, time(), UTC)
