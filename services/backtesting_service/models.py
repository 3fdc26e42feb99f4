"""Requests and results: one schema for every engine."""

from __future__ import annotations

import hashlib
import json
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.backtesting import Rules
from adapters.backtesting.strategies import Strategy, make_strategy
from contracts.market import Side

SCHEMA = 1
"""The version of requests and results; a part of each run's id."""


class BacktestRequest(BaseModel):
    """What to test on what. Amounts in the instrument's currency; `fees`, `slippage`, `max_drawdown` as
    fractions of 1. `start` and `end` are included; null means the first, or the last, bar."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: str = Field(examples=["sma_cross"])
    parameters: dict[str, int] = Field(default_factory=dict, examples=[{"fast": 10, "slow": 30}])
    symbol: str = Field(examples=["SP500"])
    start: date | None = None
    end: date | None = None
    initial_cash: Annotated[float, Field(gt=0)] = 1_000_000.0
    fees: Annotated[float, Field(ge=0, lt=1)] = 0.001
    slippage: Annotated[float, Field(ge=0, lt=1)] = 0.0005
    max_position_size: Annotated[float, Field(gt=0)] = 100_000.0
    max_drawdown: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        self.make_strategy()
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start} lies after end {self.end}: there would be no bars")
        return self

    def make_strategy(self) -> Strategy:
        """The strategy that is asked for. Raises ValueError."""
        return make_strategy(self.strategy, self.parameters)

    @property
    def rules(self) -> Rules:
        """The rules that are asked for."""
        return Rules(
            initial_cash=self.initial_cash,
            fees=self.fees,
            slippage=self.slippage,
            max_position_size=self.max_position_size,
            max_drawdown=self.max_drawdown,
        )

    def run_id(self, engine: str, bars_sha256: str) -> str:
        """The id of this request on `engine` over these bars: the same request is the same run, so sending it
        twice does the work once."""
        parts = {"schema": SCHEMA, "engine": engine, "bars": bars_sha256, "request": self.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


class RunState(StrEnum):
    """queued -> running -> done or failed. A run that a stopped service left running is queued again."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Run(BaseModel):
    """A backtest as it stands. `error` says why it failed."""

    model_config = ConfigDict(frozen=True)

    id: str
    engine: str
    request: BacktestRequest
    state: RunState
    submitted_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None


class FillModel(BaseModel):
    """One order that was done at `date`'s open; `price` includes slippage."""

    model_config = ConfigDict(from_attributes=True)

    date: date
    side: Side
    quantity: float
    price: float
    fee: float


class TradeModel(BaseModel):
    """A buy and its sale; the last may be open. `pnl` is after fees."""

    model_config = ConfigDict(from_attributes=True)

    entry_date: date
    entry_price: float
    quantity: float
    exit_date: date | None
    exit_price: float | None
    fees: float
    pnl: float | None


class FiguresModel(BaseModel):
    """Fractions of 1, but for `final_equity` and `fees_paid` (amounts), `sharpe` (annualised) and `trades`."""

    model_config = ConfigDict(from_attributes=True)

    final_equity: float
    total_return: float
    max_drawdown: float
    sharpe: float | None
    trades: int
    win_rate: float | None
    fees_paid: float


class EquityPoint(BaseModel):
    """What the account is worth at `date`'s close."""

    date: date
    equity: float


class Result(BaseModel):
    """What a backtest came to. `halted` is the day after whose close the drawdown limit ended trading."""

    engine: str
    engine_version: str
    bars: int
    halted: date | None
    figures: FiguresModel
    trades: list[TradeModel]
    fills: list[FillModel]
    equity: list[EquityPoint]
