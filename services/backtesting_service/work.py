"""What a worker process does: one backtest, from a request and a file to a result."""

from __future__ import annotations

import hashlib
import logging
import signal
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from adapters.backtesting import BacktestEngine, BacktestError, open_engine
from adapters.backtesting.measures import figures, trades
from services.backtesting_service.models import (
    BacktestRequest,
    EquityPoint,
    FiguresModel,
    FillModel,
    Result,
    TradeModel,
)
from services.common.bars import load_bars

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A picklable order for a worker. `request` and the answer are JSON, so that nothing else crosses."""

    request: str
    engine: str
    bars: Path


def file_sha256(path: Path) -> str:
    """The checksum of a history: another file is another backtest."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _engine(name: str) -> BacktestEngine:
    return open_engine(name)


def prepare(engine: str) -> None:
    """Run once in each worker: load the engine before the first job waits for it."""
    # The service ends its workers itself; a signal to the whole group must not end a job half-way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        _engine(engine)
    except BacktestError as error:
        # Raised from here it would break the pool for good; raised by a job it is that job's failure.
        _log.error("%s", error)


def run(job: Job) -> str:
    """The result as JSON. Raises BacktestError, BarsError, ValueError where there are no bars."""
    request = BacktestRequest.model_validate_json(job.request)
    bars = [
        bar
        for bar in load_bars(job.bars)
        if (request.start is None or bar.date >= request.start) and (request.end is None or bar.date <= request.end)
    ]
    if not bars:
        raise ValueError(f"{request.symbol} has no bars from {request.start} to {request.end}: nothing was tested")
    outcome = _engine(job.engine).run(request.make_strategy(), bars, request.rules)
    return Result(
        engine=outcome.engine,
        engine_version=outcome.engine_version,
        bars=len(bars),
        halted=outcome.halted,
        figures=FiguresModel.model_validate(figures(outcome.fills, outcome.equity, request.rules)),
        trades=[TradeModel.model_validate(trade) for trade in trades(outcome.fills)],
        fills=[FillModel.model_validate(fill) for fill in outcome.fills],
        equity=[EquityPoint(date=bar.date, equity=worth) for bar, worth in zip(bars, outcome.equity, strict=True)],
    ).model_dump_json()
