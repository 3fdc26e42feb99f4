"""What a worker process does: one backtest, from a request and a file to a result."""

from __future__ import annotations

import hashlib
import logging
import platform
import resource
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from adapters.backtesting import BacktestEngine, BacktestError, Outcome, open_engine
from adapters.backtesting.bars import Bars, aligned
from adapters.backtesting.histories import read_bars
from adapters.backtesting.measures import Trade, drawdowns, figures, returns, trades
from adapters.backtesting.strategies.own import OwnStrategyError
from adapters.csv_bars import load_bars
from contracts.backtests import (
    SCHEMA,
    BacktestAsked,
    EquityPoint,
    FiguresModel,
    FillModel,
    LogModel,
    Result,
    TradeModel,
)
from services.backtesting_service.confining import CannotConfine
from services.backtesting_service.models import BacktestRequest
from services.backtesting_service.own_strategies import confine_worker, take_in
from services.backtesting_service.tables import tables

RESULT, STRATEGY = "result.json", "strategy.py"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """An order for a worker. `request` is JSON; `bars` (files, or folders of histories) and their checksums by leg. All
    paths are absolute: a worker has a folder of its own."""

    run_id: str
    request: str
    engine: str
    bars: tuple[Path, ...]
    sha256: tuple[str, ...]
    source: OwnSource | None = None


@dataclass(frozen=True, slots=True)
class OwnSource:
    """The file of a strategy of the user's own, as it was when the service described it."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker may read beside the program, and the user's own strategies: files, with the checksums that they
    must have."""

    read: tuple[Path, ...]
    own: Mapping[Path, str] = field(default_factory=dict)


def file_sha256(path: Path) -> str:
    """The checksum of a history: another file is another backtest."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bars_of(symbol: str, path: Path, sha256: str) -> Bars:
    """The bars of a CSV file, or of the history in a folder, which must have that checksum. Raises BarsError,
    HistoryError."""
    return read_bars(path, sha256) if path.is_dir() else Bars.daily(symbol, load_bars(path))


@cache
def _engine(name: str) -> BacktestEngine:
    return open_engine(name)


def prepare(engine: str, surroundings: Surroundings | None = None, memory_mib: int = 0) -> None:
    """Run once in each worker: load the engine before the first job waits for it; see `surroundings` and nothing else
    from there on; and let jobs have `memory_mib` MiB beyond it (0: any amount)."""
    # The service ends its workers itself; a signal to the whole group must not end a job half-way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        _engine(engine)
    except BacktestError as error:
        # Raised from here it would break the pool for good; raised by a job it is that job's failure.
        _log.error("%s", error)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    if surroundings is not None:
        _withdraw(surroundings)
    if memory_mib:
        most = pages * resource.getpagesize() + (memory_mib << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _withdraw(surroundings: Surroundings) -> None:
    try:
        confine_worker([*surroundings.read, *{path.parent for path in surroundings.own}])
    except CannotConfine as error:
        # What is shipped needs no confinement. The user's own are not run without: they are not taken in.
        _log.warning("backtests run unconfined, and no strategy of your own is run: %s", error.strerror)
        return
    take_in(surroundings.own)


def run(job: Job) -> Mapping[str, bytes]:
    """The files of the result, by name: all of it as JSON, and its rows as Parquet.

    Raises BacktestError, of which are those of histories, BarsError, ValueError where there are no bars.
    """
    try:
        return _run(job)
    except Exception:
        raise
    except BaseException as error:  # a strategy that ends its process ends its run, and nobody else's
        raise BacktestError(f"the strategy ended its process: {type(error).__name__}") from None


def _run(job: Job) -> Mapping[str, bytes]:
    request = BacktestRequest.model_validate_json(job.request)
    legs = [
        bars_of(*leg).within(request.start, request.end)
        for leg in zip(request.symbols, job.bars, job.sha256, strict=True)
    ]
    for bars in legs:
        if not len(bars):
            raise ValueError(f"{bars.symbol} has no bars from {request.start} to {request.end}: nothing was tested")
    aligned(legs)
    source = _source(job)
    outcome = _engine(job.engine).run(request.make_strategy(), legs, request.rules)
    found = result(request, job.sha256, legs, outcome)
    if job.source is not None:
        found = found.model_copy(update={"source_sha256": job.source.sha256})
    return {RESULT: found.model_dump_json().encode(), **tables(found, job.run_id), **source}


def _source(job: Job) -> Mapping[str, bytes]:
    """What is kept of a strategy of the user's own, to make the result again from. Raises OwnStrategyError where it is
    not the one that was asked for any more."""
    if job.source is None:
        return {}
    content = job.source.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != job.source.sha256:
        raise OwnStrategyError(
            f"{job.source.path.name} was changed since the service began: restart it to use the new one"
        )
    return {STRATEGY: content}


def result(request: BacktestRequest, sha256: Sequence[str], legs: Sequence[Bars], outcome: Outcome) -> Result:
    """`outcome` as it is told."""
    first, initial = legs[0], request.initial_cash
    below, changes = drawdowns(outcome.equity, initial), returns(outcome.equity, initial)
    return Result(
        schema_version=SCHEMA,
        engine=outcome.engine,
        engine_version=outcome.engine_version,
        versions={"python": platform.python_version(), outcome.engine: outcome.engine_version},
        request=BacktestAsked.model_validate(request.model_dump()),
        bars_sha256=list(sha256),
        bars=len(first),
        halted=None if outcome.halted is None else first.day(outcome.halted),
        figures=FiguresModel.model_validate(figures(outcome.fills, outcome.equity, request.rules, first.a_year())),
        trades=[_trade(legs, trade) for trade in trades(outcome.fills)],
        fills=[
            FillModel(
                symbol=legs[fill.leg].symbol, date=first.day(fill.bar), at=first.at(fill.bar), side=fill.side,
                quantity=fill.quantity, price=fill.price, fee=fill.fee,
            )
            for fill in outcome.fills
        ],
        equity=[
            EquityPoint(date=at.date(), at=at, equity=worth, drawdown=below[bar], change=changes[bar])
            for bar, worth in enumerate(outcome.equity)
            for at in (first.at(bar),)
        ],
        log=[
            LogModel(
                at=first.at(entry.bar), symbol=None if entry.leg < 0 else legs[entry.leg].symbol, event=entry.event,
                wanted=entry.wanted, done=entry.done,
            )
            for entry in outcome.log
        ],
    )  # fmt: skip


def _trade(legs: Sequence[Bars], trade: Trade) -> TradeModel:
    bars = legs[trade.leg]
    return TradeModel(
        symbol=bars.symbol, side=trade.side, entry_date=bars.day(trade.entry_bar), entry_price=trade.entry_price,
        quantity=trade.quantity, exit_date=None if trade.exit_bar is None else bars.day(trade.exit_bar),
        exit_price=trade.exit_price, fees=trade.fees, pnl=trade.pnl,
    )  # fmt: skip
