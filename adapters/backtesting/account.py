"""The arithmetic of the rules (base.py): sizes, prices, and what cash pays for. Pure, in lots.

A lot's price is the price of a unit times `lot`. What cash pays for is counted as VectorBT counts it (lock_cash), with
its tolerance: two engines that rounded differently would buy one lot more or less.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.backtesting.base import Rules
from contracts.backtests import LogEvent, OnDrawdown, OnPosition, SizeKind
from contracts.market import Side

_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
_REFUSED = {OnPosition.REFUSE: LogEvent.POSITION_REFUSED, OnPosition.HALT: LogEvent.POSITION_HALT}


def fill_price(price: float, side: Side, rules: Rules) -> float:
    """What a unit costs, or brings."""
    if side is Side.BUY:
        asked = price * (1 + rules.slippage)
        return _to_tick(asked, rules.tick, math.ceil) if rules.tick else asked
    bid = price * (1 - rules.slippage)
    return max(rules.tick, _to_tick(bid, rules.tick, math.floor)) if rules.tick else bid


def _to_tick(price: float, tick: float, rounded: Callable[[float], int]) -> float:
    ticks = price / tick
    near = round(ticks)
    whole = near if math.isclose(ticks, near, rel_tol=1e-9) else rounded(ticks)
    return whole * tick


@dataclass(frozen=True, slots=True)
class Sized:
    """How many lots an opening order is for, how many were wanted before the limits, and which limit it was."""

    lots: float
    wanted: float
    limit: LogEvent | None = None


def sized(rules: Rules, equity: float, close: float, drawn_down: bool) -> Sized:
    """The size of a position that is decided at `close`, of an account worth `equity` there."""
    price = close * rules.lot
    most = rules.max_position_size // price
    if rules.size is None:
        wanted = most
    elif rules.size_kind is SizeKind.UNITS:
        wanted = rules.size / rules.lot // 1
    else:
        value = rules.size if rules.size_kind is SizeKind.VALUE else rules.size * equity
        wanted = max(0.0, value) / price // 1
    if drawn_down and rules.on_drawdown is OnDrawdown.REFUSE:
        return Sized(0.0, wanted, LogEvent.DRAWDOWN_REFUSED)
    if wanted <= most:
        return Sized(wanted, wanted)
    if rules.on_position is OnPosition.CLIP:
        return Sized(most, wanted, LogEvent.POSITION_CLIPPED)
    return Sized(0.0, wanted, _REFUSED[rules.on_position])


@dataclass(slots=True)
class Held:
    """What is held of a leg: lots, below 0 where sold short, and the value at which those were sold."""

    lots: float = 0.0
    debt: float = 0.0


@dataclass(slots=True)
class Account:
    """Cash, and what is held by leg."""

    cash: float
    legs: list[Held] = field(default_factory=list)

    @property
    def free(self) -> float:
        """See rule 5."""
        return self.cash - 2 * sum([held.debt for held in self.legs])

    def affordable(self, leg: int, lots: float, price: float, rules: Rules) -> float:
        """How many of `lots` (below 0: a sale) can be done at `price` a lot."""
        return self._buy(leg, lots, price, rules) if lots > 0 else -self._sale(leg, -lots, price, rules)

    def fill(self, leg: int, lots: float, price: float, rules: Rules) -> float:
        """Do it, whole; the fee."""
        held, value = self.legs[leg], abs(lots) * price
        fee = value * rules.fees + rules.fee_per_order
        if held.lots < 0 and lots > 0:
            held.debt -= min(lots, -held.lots) * held.debt / -held.lots
        elif lots < 0:
            held.debt += min(-lots, max(0.0, -lots - max(held.lots, 0.0))) * price
        held.lots += lots
        self.cash += (-value if lots > 0 else value) - fee
        return fee

    def _buy(self, leg: int, lots: float, price: float, rules: Rules) -> float:
        held, free, costs, fixed = self.legs[leg], self.free, price * (1 + rules.fees), rules.fee_per_order
        limit = free
        if held.lots < 0:
            left = free + 2 * held.debt - (-held.lots * costs + fixed)
            if left > 0:
                limit = free + 2 * held.debt
            elif left < 0:
                limit = (free - fixed) / (costs - 2 * held.debt / -held.lots) * costs + fixed
            else:
                limit = self.cash
        limit = min(limit, self.cash)
        value = lots * price
        needed = value + (value * rules.fees + fixed)
        if needed <= limit or math.isclose(needed, limit, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE):
            return lots
        most = (limit - fixed) / (1 + rules.fees)
        return most / price // 1 if most > 0 else 0.0

    def _sale(self, leg: int, lots: float, price: float, rules: Rules) -> float:
        held = self.legs[leg]
        long = max(held.lots, 0.0)
        free = self.free + long * price * (1 - rules.fees)
        most = long
        if free > 0:
            most += (free - rules.fee_per_order) / (price * (1 + rules.fees))
        done = max(0.0, min(lots, most) // 1)
        return done if done * price * (1 - rules.fees) >= rules.fee_per_order else 0.0
