"""Whether two engines make the same of the same backtests, and whether a result is true to itself.

`compare_backtesting_engines` is the gate of a switch: a suite that is shipped, over the symbols that the service has,
and the user's own newest runs. A run is done by both engines, as any caller would have it done, and both results are
compared trade by trade and bar by bar (adapters/backtesting/comparing.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from adapters.backtesting.comparing import RELATIVE, compared, one_failed
from adapters.backtesting.jobs import Job, JobRefused, Jobs, Offer
from contracts.backtests import BacktestAsked, Divergence, Execution, OnDrawdown, Result, SizeKind, Sizing
from contracts.market import Side
from validation.result import Check, Report

_RULES: Sequence[dict[str, object]] = (
    {"max_drawdown": 1.0},
    {
        "initial_cash": 150_000.0, "max_position_size": 200_000.0, "tick_size": 0.01, "fee_per_order": 1.0,
        "sizing": Sizing(kind=SizeKind.EQUITY, amount=0.9), "execution": Execution.SAME_CLOSE,
        "max_drawdown": 0.2, "on_drawdown": OnDrawdown.REFUSE,
    },
    {},
)  # fmt: skip
"""Costs alone; sizes of the equity, ticks and a limit that refuses; and what is asked for by default."""
_FIX = "See GET /backtests of both runs; hold the switch, and report it with the request's JSON"


Seen = Callable[[BacktestAsked, Sequence[Result]], None]
"""Is given a request, and what each engine made of it."""


def suite(offer: Offer) -> list[BacktestAsked]:
    """The shipped suite: every strategy on the first symbol, under each of a few rules, and by default on the second.
    More symbols would tell nothing else of the engines."""
    found = []
    for strategy, legs in sorted(offer.legs.items()):
        for place, symbol in enumerate(offer.symbols[: 2 if legs == 1 else 1]):
            against = None if legs == 1 else next((other for other in offer.symbols if other != symbol), None)
            if legs > 2 or (legs == 2 and against is None):
                continue
            found += [
                BacktestAsked.model_validate({"strategy": strategy, "symbol": symbol, "against": against, **rules})
                for rules in (_RULES if place == 0 else _RULES[-1:])
            ]
    return found


def asked_of_both(jobs: Jobs, newest: int) -> list[BacktestAsked]:
    """The suite, and as many of the user's own newest runs, each once. Raises JobsUnavailable."""
    asked = suite(jobs.offer())
    return asked + [one for one in jobs.recorded(newest + len(asked)) if one not in asked][:newest]


@dataclass(slots=True)
class _Pair:
    """A request, and its runs by both engines."""

    asked: BacktestAsked
    jobs: list[Job]
    why: str = ""
    """Why there is nothing to compare."""
    found: Divergence | None = None


def compare_backtesting_engines(
    jobs: Jobs, engines: tuple[str, str], asked: Sequence[BacktestAsked], *, seconds: float = 1800.0,
    tolerance: float = RELATIVE, stop: Callable[[], None] = lambda: None,
    note: Callable[[str], None] = lambda _: None, rest: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic, seen: Seen = lambda _, __: None,
) -> Report:  # fmt: skip
    """Have both `engines` do each of `asked`, and compare. `stop` is called now and then, and may raise; `seen`
    gets what both made of a request. What is not done within `seconds` could not be compared. Raises JobsUnavailable
    where the service does not answer any more."""
    deadline = now() + seconds
    pairs = [_Pair(one, []) for one in asked]
    for pair in pairs:
        try:
            pair.jobs = [jobs.submit(pair.asked.model_copy(update={"engine": engine})) for engine in engines]
        except JobRefused as error:
            pair.why = str(error)
    told = now() + 5
    while waiting := [pair for pair in pairs if pair.found is None and not pair.why]:
        stop()
        for pair in waiting:
            _follow(jobs, pair, tolerance, seen)
        if now() > told:
            note(f"{len(pairs) - len(waiting)} of {len(pairs)} backtests were done by both engines")
            told = now() + 5
        if now() > deadline:
            for pair in waiting:
                pair.why = pair.why or f"not done by both within {seconds:g} s"
        rest(0.1)  # the service offers polling only
    return Report(
        subject=f"backtesting: {engines[0]} and {engines[1]}", checks=tuple(map(_check, pairs)), figures=_figures(pairs)
    )


def _follow(jobs: Jobs, pair: _Pair, tolerance: float, seen: Seen) -> None:
    pair.jobs = [job if job.ended else jobs.job(job.id) for job in pair.jobs]
    if not all(job.ended for job in pair.jobs):
        return
    failed = [job for job in pair.jobs if job.state != "done"]
    if failed and len(failed) < len(pair.jobs) and failed[0].state == "failed":
        first, second = pair.jobs
        pair.found = one_failed((first.engine, second.engine), failed[0].engine, failed[0].error)
    elif failed:
        pair.why = "; ".join(f"{job.engine}: {job.state} {job.error}".strip() for job in failed)
    else:
        results = [jobs.result(job.id) for job in pair.jobs]
        pair.found = compared(*results, relative=tolerance)
        seen(pair.asked, results)


def _check(pair: _Pair) -> Check:
    asked = pair.asked
    rules = asked.model_dump(mode="json", exclude_defaults=True, exclude={"strategy", "symbol", "against"})
    name = f"{asked.strategy} on {' and '.join(asked.symbols)}{f' {rules}' if rules else ''}"
    expected = "the same orders, and the same equity at each bar"
    if pair.found is None:
        return Check.unknown(name, expected=expected, why=pair.why, fix="See the service's log")
    found = pair.found
    told = f"{found.fills[0]} orders, {found.bars} bars, equity {found.equity_apart:.1e} apart"
    if not found.same:
        told = f"{found.differences} differences in {found.fills[0]} and {found.fills[1]} orders, {found.bars} bars"
    return Check.that(name, found.same, expected=expected, found=told, fix=_FIX, detail="; ".join(found.named[:3]))


def _figures(pairs: Sequence[_Pair]) -> dict[str, float]:
    done = [pair.found for pair in pairs if pair.found is not None]
    return {
        "backtests": float(len(pairs)),
        "compared": float(len(done)),
        "differing": float(sum(not found.same for found in done)),
        "orders": float(sum(found.fills[0] for found in done)),
        "bars": float(sum(found.bars for found in done)),
        "largest_distance": max((found.equity_apart for found in done), default=0.0),
    }


def validate_backtest_results(result: Result) -> Report:
    """Whether what `result` says goes together: its equity with its orders, its figures with its equity."""
    return Report(subject=f"backtest result of {result.engine}", checks=tuple(_true_to_itself(result)))


def _true_to_itself(result: Result) -> Iterator[Check]:
    name = "equity: finite at each bar"
    wrong = [point.date for point in result.equity if not math.isfinite(point.equity)]
    yield Check.none_wrong(name, wrong=len(wrong), of=len(result.equity), what="others", detail=f"{wrong[:3]}")
    backwards = sum((one.at or one.date) >= (two.at or two.date) for one, two in pairwise(result.equity))
    yield Check.none_wrong("bars: in order of time", wrong=backwards, of=len(result.equity), what="out of order")
    if not result.equity:
        return
    last, figures = result.equity[-1].equity, result.figures
    yield _equal("final equity", figures.final_equity, last, last)
    fees = math.fsum(fill.fee for fill in result.fills)
    yield _equal("fees paid", figures.fees_paid, fees, last)
    highest, deepest = result.request.initial_cash if result.request else result.equity[0].equity, 0.0
    for point in result.equity:
        highest = max(highest, point.equity)
        deepest = max(deepest, 1 - point.equity / highest)
    yield _equal("largest drawdown", figures.max_drawdown, deepest, 1.0)
    yield Check.that("trades", figures.trades == len(result.trades), expected=f"{len(result.trades)}, as many as are "
                     "listed", found=str(figures.trades))  # fmt: skip
    if result.request is not None and not _held(result):
        closed = math.fsum(trade.pnl for trade in result.trades if trade.pnl is not None)
        yield _equal("gains of all trades", result.request.initial_cash + closed, last, last)


def _held(result: Result) -> bool:
    units: dict[str, float] = {}
    for fill in result.fills:
        way = 1 if fill.side is Side.BUY else -1
        units[fill.symbol] = units.get(fill.symbol, 0.0) + way * fill.quantity
    return any(abs(left) > 1e-9 for left in units.values())


def _equal(name: str, told: float, found: float, scale: float) -> Check:
    holds = math.isclose(told, found, rel_tol=1e-9, abs_tol=1e-9 * abs(scale))
    return Check.that(name, holds, expected=f"{found:.10g}, by its orders and bars", found=f"{told:.10g}")
