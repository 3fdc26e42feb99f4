"""Requests and results of backtests: one schema for every engine, and the words that engines share with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.market import Side

SCHEMA = 2
"""The version of requests and results; a part of each run's identity. 1 had daily bars of one instrument, long only,
and none of the fields that have a default in Result, nor `tick_size` to `on_drawdown`; it can still be read."""


class Execution(StrEnum):
    """When what is wanted after a bar is done: at the next bar's open, or at that bar's own close."""

    NEXT_OPEN = "next_open"
    SAME_CLOSE = "same_close"


class SizeKind(StrEnum):
    """What a size is: an amount of the currency, units, or a fraction of the equity."""

    VALUE = "value"
    UNITS = "units"
    EQUITY = "equity"


class OnPosition(StrEnum):
    """What becomes of a position above its limit: it is cut down to it, not opened, or trading ends."""

    CLIP = "clip"
    REFUSE = "refuse"
    HALT = "halt"


class OnDrawdown(StrEnum):
    """What the drawdown limit does: it ends trading, or lets nothing be opened while the drawdown lasts."""

    HALT = "halt"
    REFUSE = "refuse"


class LogEvent(StrEnum):
    """What a limit did to an order, or to all."""

    POSITION_CLIPPED = "position clipped"
    POSITION_REFUSED = "position refused"
    POSITION_HALT = "position above its limit: trading ended"
    DRAWDOWN_REFUSED = "drawdown: position refused"
    DRAWDOWN_HALT = "drawdown: trading ended"
    CASH_CLIPPED = "cash covers less"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sizing(_Model):
    """How large a position is: `amount` of the currency (`value`), in `units`, or as a fraction of the equity at the
    deciding close (`equity`). `max_position_size` stands above it."""

    kind: SizeKind = SizeKind.VALUE
    amount: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _unleveraged(self) -> Self:
        if self.kind is SizeKind.EQUITY and self.amount > 1:
            raise ValueError(
                f"sizing.amount is {self.amount} of the equity: nothing can be borrowed. Give a fraction of at most 1"
            )
        return self


class BacktestAsked(_Model):
    """What to test on what. Amounts in the instrument's currency; `fees` (of an order's value), `slippage` (of its
    price) and `max_drawdown` as fractions of 1; `fee_per_order` an amount. `start` and `end` are included; null means
    the first, or the last, bar. `against`: the second leg of a strategy that trades two. `tick_size`: prices of orders
    are rounded to it, against the trader; null rounds nothing. `lot_size`: orders are for whole lots of so many units.
    `sizing`: null is as much as `max_position_size` allows. `engine`: null is the one that serves; another runs it
    where it is deployed."""

    strategy: str = Field(examples=["sma_cross"])
    parameters: dict[str, int | float] = Field(default_factory=dict, examples=[{"fast": 10, "slow": 30}])
    symbol: str = Field(examples=["SP500"])
    against: str | None = Field(default=None, examples=["NASDAQ"])
    start: date | None = None
    end: date | None = None
    initial_cash: Annotated[float, Field(gt=0)] = 1_000_000.0
    fees: Annotated[float, Field(ge=0, lt=1)] = 0.001
    fee_per_order: Annotated[float, Field(ge=0)] = 0.0
    slippage: Annotated[float, Field(ge=0, lt=1)] = 0.0005
    tick_size: Annotated[float, Field(gt=0)] | None = None
    lot_size: Annotated[float, Field(gt=0)] = 1.0
    sizing: Sizing | None = None
    execution: Execution = Execution.NEXT_OPEN
    max_position_size: Annotated[float, Field(gt=0)] = 100_000.0
    on_position: OnPosition = OnPosition.CLIP
    max_drawdown: Annotated[float, Field(gt=0, le=1)] = 0.1
    on_drawdown: OnDrawdown = OnDrawdown.HALT
    engine: Annotated[str, Field(pattern="^(vectorbt|nautilus|memory)$")] | None = None

    @model_validator(mode="after")
    def _has_bars(self) -> Self:
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start} lies after end {self.end}: there would be no bars")
        if self.against == self.symbol:
            raise ValueError(f"against is {self.against}, which is the symbol: a pair has two legs. Name another")
        return self

    @property
    def symbols(self) -> tuple[str, ...]:
        """Of its legs."""
        return (self.symbol,) if self.against is None else (self.symbol, self.against)

    def identity(self, engine: str, bars_sha256: Sequence[str], source_sha256: str | None = None) -> str:
        """32 hexadecimal digits that name this request on `engine` over the bars with these checksums, one a leg: the
        same request is the same run, so sending it twice does the work once. `source_sha256`: of a strategy of the
        user's own. What is as it is by default does not count, so that a field that is added changes no identity."""
        parts: dict[str, object] = {
            "schema": SCHEMA,
            "engine": engine,
            "bars": list(bars_sha256),
            "request": self.model_dump(mode="json", exclude_defaults=True, exclude={"engine"}),
        }
        if source_sha256 is not None:
            parts["source"] = source_sha256
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class FillModel(_Answer):
    """One order that was done at `date`'s open, or at its close, as `execution` says; `price` includes slippage. `at`:
    when its bar opened, UTC."""

    symbol: str = ""
    date: date
    at: datetime | None = None
    side: Side
    quantity: float
    price: float
    fee: float


class TradeModel(_Answer):
    """A position from its beginning to its end; the last may be open. `side` is sell where it was sold short. `pnl` is
    after fees."""

    symbol: str = ""
    side: Side = Side.BUY
    entry_date: date
    entry_price: float
    quantity: float
    exit_date: date | None
    exit_price: float | None
    fees: float
    pnl: float | None


class FiguresModel(_Answer):
    """Fractions of 1, but for `final_equity` and `fees_paid` (amounts), `trades` (a count), and the ratios: `sharpe`,
    `sortino`, `calmar`, all annualised and without a risk-free rate, and `profit_factor`; null where a ratio has no
    divisor, or the run was of an earlier version. `turnover`: what was bought and sold, by the initial cash."""

    final_equity: float
    total_return: float
    annual_return: float | None = None
    volatility: float | None = None
    max_drawdown: float
    sharpe: float | None
    sortino: float | None = None
    calmar: float | None = None
    trades: int
    win_rate: float | None
    profit_factor: float | None = None
    exposure: float | None = None
    turnover: float | None = None
    fees_paid: float


class EquityPoint(_Answer):
    """What the account is worth after the bar that opened at `at`, UTC, on `date`; how far that lies below its highest
    so far, and how it changed from the bar before, as fractions."""

    date: date
    at: datetime | None = None
    equity: float
    drawdown: float | None = None
    change: float | None = None


class LogModel(_Answer):
    """What a limit did, at the bar that opened at `at`: units that were `wanted`, and `done`. `symbol` is null where it
    is of the whole account."""

    at: datetime
    symbol: str | None
    event: LogEvent
    wanted: float
    done: float


class Result(_Answer):
    """What a backtest came to. `halted` is the day after whose close a limit ended trading. `request`, `bars_sha256`
    (one a leg) and, of a strategy of the user's own, `source_sha256` say what it can be made again from."""

    schema_version: int = 1
    engine: str
    engine_version: str
    versions: dict[str, str] = Field(default_factory=dict)
    request: BacktestAsked | None = None
    bars_sha256: list[str] = Field(default_factory=list)
    source_sha256: str | None = None
    bars: int
    halted: date | None
    figures: FiguresModel
    trades: list[TradeModel]
    fills: list[FillModel]
    equity: list[EquityPoint]
    log: list[LogModel] = Field(default_factory=list)


class Divergence(_Answer):
    """What two engines made of one request. `fills`: how many orders each had; `equity_apart`: the largest distance of
    two values of a bar, as a fraction; `named`: the first differences, for people."""

    engines: tuple[str, str]
    same: bool
    fills: tuple[int, int]
    bars: int
    equity_apart: float
    differences: int
    named: list[str]
