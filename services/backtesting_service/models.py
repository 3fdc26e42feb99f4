"""What the service keeps and checks beyond the contract of backtests."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from adapters.backtesting import Rules
from adapters.backtesting.asking import check_legs, rules_of, strategy_of
from adapters.backtesting.strategies import Strategy, check_named, source_of
from contracts.backtests import BacktestAsked


class BacktestRequest(BacktestAsked):
    __doc__ = BacktestAsked.__doc__

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        check_named(self.strategy, self.parameters)
        if source_of(self.strategy) is None:
            self.make_strategy()  # of one of the user's own a worker does, which is confined
        check_legs(self)
        return self

    def make_strategy(self) -> Strategy:
        """The strategy that is asked for. Raises ValueError."""
        return strategy_of(self)

    @property
    def rules(self) -> Rules:
        """The rules that are asked for."""
        return rules_of(self)


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
