"""A third account of the rules (adapters/backtesting/base.py), which shares no code with the engines: numpy, one bar at
a time, long only, one leg. Signals are computed over the whole history, and not as the strategies do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass
class Plain:
    """What it came to: (bar, signed units, price, fee) of each order, and the equity after each bar."""

    orders: list[tuple[int, float, float, float]]
    equity: list[float]
    halted: int | None


def plain(
    bars: Any, wanted: Array, *, cash: float, fees: float = 0.0, fixed: float = 0.0, slippage: float = 0.0,
    most: float = 100_000.0, drawdown: float = 1.0, tick: float = 0.0, at_close: bool = False,
) -> Plain:  # fmt: skip
    """`wanted`: 1 or 0 from the close of a bar on, NaN where nothing is said."""
    initial = highest = cash
    units, now, due, halted = 0.0, 0.0, None, None
    out = Plain([], [], None)

    def trade(bar: int, price: float) -> None:
        nonlocal cash, units, due
        if due is None:
            return
        kind, size = due
        due = None
        if kind == "buy":
            price = price * (1 + slippage)
            price = np.ceil(round(price / tick, 6)) * tick if tick else price
            while size > 0 and size * price * (1 + fees) + fixed > cash * (1 + 1e-12):
                size -= 1
            if size <= 0:
                return
            signed, paid = size, size * price * fees + fixed
        else:
            price = price * (1 - slippage)
            price = np.floor(round(price / tick, 6)) * tick if tick else price
            if units == 0:
                return
            signed, paid = -units, units * price * fees + fixed
        cash -= signed * price + paid
        units += signed
        out.orders.append((bar, signed, price, paid))

    for bar in range(len(bars)):
        if not at_close:
            trade(bar, bars.open[bar])
        worth = cash + units * bars.close[bar]
        highest = max(highest, worth)
        if halted is None and worth <= highest * (1 - drawdown):
            halted, due = bar, ("sell", 0.0)
        elif halted is None and not np.isnan(wanted[bar]) and wanted[bar] != now:
            now = wanted[bar]
            due = ("buy", np.floor(most / bars.close[bar])) if now else ("sell", 0.0)
        if at_close:
            trade(bar, bars.close[bar])
        out.equity.append(cash + units * bars.close[bar])
    out.halted = halted
    assert initial > 0
    return out


def rolling(values: Array, window: int) -> Array:
    """The last `window` values at each place from window - 1 on."""
    return np.lib.stride_tricks.sliding_window_view(values, window)


def crossing(fast: Array, slow: Array, first: int) -> Array:
    """1 where `fast` comes to lie above `slow`, 0 where below, NaN else; silent before place `first`."""
    wanted = np.full(len(fast), np.nan)
    side: float | None = None
    for place in range(first, len(fast)):
        now = side if fast[place] == slow[place] else float(fast[place] > slow[place])
        if side is not None and now != side:
            wanted[place] = now
        side = now
    return wanted


def sma(closes: Array, fast: int, slow: int) -> Array:
    """Signals of two simple averages."""
    averages = []
    for window in (fast, slow):
        means = np.full(len(closes), np.nan)
        means[window - 1 :] = rolling(closes, window).mean(axis=1)
        averages.append(means)
    return crossing(averages[0], averages[1], slow - 1)


def bollinger(closes: Array, period: int, width: float) -> Array:
    """1 below the lower band, 0 above the middle."""
    windows, wanted = rolling(closes, period), np.full(len(closes), np.nan)
    middle, spread, late = windows.mean(axis=1), windows.std(axis=1), closes[period - 1 :]
    wanted[period - 1 :] = np.where(late < middle - width * spread, 1.0, np.where(late > middle, 0.0, np.nan))
    return wanted


def donchian(highs: Array, lows: Array, closes: Array, entry: int, leave: int) -> Array:
    """1 above all highs before, 0 below all lows before."""
    wanted, longest = np.full(len(closes), np.nan), max(entry, leave)
    for place in range(longest, len(closes)):
        if closes[place] > highs[place - entry : place].max():
            wanted[place] = 1.0
        elif closes[place] < lows[place - leave : place].min():
            wanted[place] = 0.0
    return wanted
