"""What travels on the topics: bars on `market_data`, signals on `trading_signals`. JSON, UTF-8."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

BAR_TYPE = "dev.crossover.market.bar"
"""The CloudEvents type of a bar."""
SIGNAL_TYPE = "dev.crossover.trading.signal"
"""The CloudEvents type of a signal."""


class Side(StrEnum):
    """The direction of a signal or an order."""

    BUY = "buy"
    SELL = "sell"


class MalformedPayload(ValueError):
    """A payload that is not what its topic carries: which field, which value, why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One daily bar. Prices in index points (the currency of the instrument), volume in shares."""

    date: date
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A bar as it travels. `sequence` grows with each event of a key within one run of a feed."""

    symbol: str
    sequence: int
    bar: Bar


_PRICES = ("open", "high", "low", "close")


def bar_problem(values: dict[str, float]) -> str | None:
    """Why `values` (open, high, low, close, volume) can be no bar; None where they can."""
    for name in _PRICES:
        if not (math.isfinite(values[name]) and values[name] > 0):
            return f"{name} is {values[name]!r}, not a positive finite price"
    if not (math.isfinite(values["volume"]) and values["volume"] >= 0):
        return f"volume is {values['volume']!r}, not a finite number of at least 0"
    if values["high"] < max(values["open"], values["close"], values["low"]):
        return f"high is {values['high']!r}, below another price of the bar"
    if values["low"] > min(values["open"], values["close"]):
        return f"low is {values['low']!r}, above another price of the bar"
    return None


def encode_tick(symbol: str, sequence: int, bar: Bar) -> bytes:
    """The payload of a bar: {symbol, date, open, high, low, close, volume, sequence}."""
    return json.dumps(
        {
            "symbol": symbol,
            "date": bar.date.isoformat(),
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "volume": bar.volume,
            "sequence": sequence,
        },
        separators=(",", ":"),
    ).encode()


def parse_tick(payload: bytes) -> Tick:
    """The bar that `payload` carries; fields beyond those known are passed over.

    Raises MalformedPayload naming the field.
    """
    fields = _json_object(payload)
    values = {name: _number(fields, name) for name in (*_PRICES, "volume")}
    problem = bar_problem(values)
    if problem:
        raise MalformedPayload(problem)
    symbol, sequence, day = fields.get("symbol"), fields.get("sequence"), fields.get("date")
    if not isinstance(symbol, str) or not symbol:
        raise MalformedPayload(f"symbol is {symbol!r}, not a name")
    if not isinstance(sequence, int) or isinstance(sequence, bool):
        raise MalformedPayload(f"sequence is {sequence!r}, not a whole number")
    try:
        parsed = date.fromisoformat(day if isinstance(day, str) else "")
    except ValueError:
        raise MalformedPayload(f"date is {day!r}, not YYYY-MM-DD") from None
    return Tick(symbol=symbol, sequence=sequence, bar=Bar(date=parsed, **values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A crossover that the engine saw. `price` is the close that made it, `source_event_id` the
    bar's event; `signal_id` is also the id of the event that publishes it."""

    signal_id: str
    strategy: str
    key: str
    symbol: str
    side: Side
    price: float
    date: date
    source_event_id: str


def encode_signal(signal: Signal) -> bytes:
    """The payload of a signal."""
    return json.dumps(
        {
            "signal_id": signal.signal_id,
            "strategy": signal.strategy,
            "key": signal.key,
            "symbol": signal.symbol,
            "side": signal.side.value,
            "price": signal.price,
            "date": signal.date.isoformat(),
            "source_event_id": signal.source_event_id,
        },
        separators=(",", ":"),
    ).encode()


def _json_object(payload: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(payload)
    except ValueError as error:
        raise MalformedPayload(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise MalformedPayload(f"a JSON {type(fields).__name__}, not an object")
    return fields


def _number(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedPayload(f"{name} is {value!r}, not a number")
    return float(value)
