"""What the service keeps and checks beyond the contract of backtests."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from adapters.backtesting import Rules
from adapters.backtesting.strategies import Strategy, check_named, legs, make_strategy, source_of
from contracts.backtests import BacktestAsked, SizeKind


class BacktestRequest(BacktestAsked):
    __doc__ = BacktestAsked.__doc__

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        check_named(self.strategy, self.parameters)
        if source_of(self.strategy) is None:
            self.make_strategy()  # of one of the user's own a worker does, which is confined
        trades = legs(self.strategy)
        if trades != len(self.symbols):
            fix = "Leave `against` out" if trades == 1 else "Name the second in `against`"
            raise ValueError(f"{self.strategy} trades {trades} symbols, {len(self.symbols)} are named. {fix}")
        return self

    def make_strategy(self) -> Strategy:
        """The strategy that is asked for. Raises ValueError."""
        return make_strategy(self.strategy, self.parameters)

    @property
    def rules(self) -> Rules:
        """The rules that are asked for."""
        sizing = self.sizing
        return Rules(
            initial_cash=self.initial_cash,
            fees=self.fees,
            fee_per_order=self.fee_per_order,
            slippage=self.slippage,
            tick=self.tick_size or 0.0,
            lot=self.lot_size,
            size_kind=SizeKind.VALUE if sizing is None else sizing.kind,
            size=None if sizing is None else sizing.amount,
            execution=self.execution,
            max_position_size=self.max_position_size,
            on_position=self.on_position,
            max_drawdown=self.max_drawdown,
            on_drawdown=self.on_drawdown,
        )


class RunState(StrEnum):
    """queued -> running -> done or failed; cancelled from either of the first two. A run that a stopped service left
    running is queued again."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Run(BaseModel):
    """A backtest as it stands. `error` says why it failed. `twin_of`: the run that it is compared with; nobody asked
    for it."""

    model_config = ConfigDict(frozen=True)

    id: str
    engine: str
    request: BacktestAsked
    """As it was asked for: it can be read when its strategy is gone."""
    state: RunState
    submitted_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    twin_of: str | None = None
