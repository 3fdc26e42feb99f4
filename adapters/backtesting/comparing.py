"""Whether two results are the same backtest: trade by trade, bar by bar. Pure. Nothing is averaged away: each
difference is counted, and the first are named."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from contracts.backtests import Divergence, FillModel, Result

RELATIVE = 1e-9
"""Of an amount, from which on it differs: doubles keep 1e-16, and twenty years of bars add up to 1e-13."""
_ABSOLUTE = 1e-9
_NAMED = 20
_EXACT = ("symbol", "date", "at", "side")
_AMOUNTS = ("quantity", "price", "fee")


def compared(a: Result, b: Result, *, relative: float = RELATIVE) -> Divergence:
    """What differs between `a` and `b`, results of one request over the same bars."""
    found = [*_shape(a, b), *(text for _, text in orders_that_differ(a.fills, b.fills, relative)), *_limits(a, b)]
    gaps = [apart(one.equity, two.equity) for one, two in zip(a.equity, b.equity, strict=False)]
    beyond = [(bar, gap) for bar, gap in enumerate(gaps) if not gap <= relative]
    if beyond:
        bar, _ = beyond[0]
        one, two = a.equity[bar], b.equity[bar]
        found.append(
            f"equity: {len(beyond)} of {len(gaps)} bars differ, the first on {one.date}: {one.equity:.10g} and "
            f"{two.equity:.10g}"
        )
    return Divergence(
        engines=(a.engine, b.engine),
        same=not found,
        fills=(len(a.fills), len(b.fills)),
        bars=len(gaps),
        equity_apart=max(gaps, default=0.0),
        differences=len(found),
        named=found[:_NAMED],
    )


def one_failed(engines: tuple[str, str], failed: str, why: str) -> Divergence:
    """That one of `engines` did what the other, `failed`, could not."""
    did = engines[0] if failed == engines[1] else engines[1]
    named = [f"{did} did it, {failed} failed: {why}"]
    return Divergence(
        engines=engines, same=False, fills=(0, 0), bars=0, equity_apart=0.0, differences=1, named=named
    )  # fmt: skip


def _shape(a: Result, b: Result) -> Iterator[str]:
    if a.bars_sha256 != b.bars_sha256:
        yield f"they are of other bars: checksums {', '.join(a.bars_sha256)} and {', '.join(b.bars_sha256)}"
    if len(a.equity) != len(b.equity):
        yield f"{len(a.equity)} and {len(b.equity)} bars"
    if len(a.fills) != len(b.fills):
        yield f"{len(a.fills)} and {len(b.fills)} orders"
    if a.halted != b.halted:
        yield f"trading ended: {a.halted or 'never'} and {b.halted or 'never'}"


def orders_that_differ(
    a: Sequence[FillModel], b: Sequence[FillModel], relative: float = RELATIVE
) -> Iterator[tuple[int, str]]:
    """Of the orders that both have, by number, what differs."""
    for number, (one, two) in enumerate(zip(a, b, strict=False)):
        wrong = [name for name in _EXACT if getattr(one, name) != getattr(two, name)]
        wrong += [
            name
            for name in _AMOUNTS
            if not math.isclose(getattr(one, name), getattr(two, name), rel_tol=relative, abs_tol=_ABSOLUTE)
        ]
        if wrong:
            told = ", ".join(f"{name} {getattr(one, name)} and {getattr(two, name)}" for name in wrong)
            yield number, f"order {number + 1}, {one.side.value} on {one.date}: {told}"


def _limits(a: Result, b: Result) -> Iterator[str]:
    logs = [[(entry.at, entry.symbol, entry.event) for entry in result.log] for result in (a, b)]
    if logs[0] != logs[1]:
        place = next((n for n, (one, two) in enumerate(zip(*logs, strict=False)) if one != two), min(map(len, logs)))
        told = [f"{log[place][2].value} on {log[place][0].date()}" if place < len(log) else "nothing" for log in logs]
        yield f"limits: {len(logs[0])} and {len(logs[1])} entries, the first that differs: {told[0]} and {told[1]}"


def apart(one: float, two: float) -> float:
    """The distance of two amounts, as a fraction of the larger; infinite where one is no number."""
    if not (math.isfinite(one) and math.isfinite(two)):
        return math.inf
    return abs(one - two) / max(abs(one), abs(two), 1e-300) if one != two else 0.0
