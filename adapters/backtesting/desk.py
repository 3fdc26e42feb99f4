"""What is to be held after each close, under the limits of the rules (base.py), and the log of what they did. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.backtesting.account import sized
from adapters.backtesting.base import LogEntry, Rules
from contracts.backtests import LogEvent, OnDrawdown

Target = tuple[int, float]
"""A leg, and how many lots of it are to be held; below 0 sold short."""
Change = tuple[int, float]
"""A leg, and LONG, FLAT or SHORT, where that is not what was wanted before."""


class Desk:
    """Of one run. Closes come in order; an engine that knows all of them at once may pass over those at which nothing
    changes and the equity meets no limit."""

    def __init__(self, rules: Rules, legs: int) -> None:
        self._rules = rules
        self._legs = legs
        self.highest = rules.initial_cash
        """The highest equity of all closes so far."""
        self.halted: int | None = None
        """The bar at whose close trading ended."""
        self.log: list[LogEntry] = []

    def mark(self, equity: float) -> bool:
        """Whether the equity at this close lies at the drawdown limit or beyond."""
        self.highest = max(self.highest, equity)
        return equity <= self.highest * (1 - self._rules.max_drawdown)

    def targets(
        self, bar: int, changes: Sequence[Change], equity: float, closes: Sequence[float], drawn_down: bool
    ) -> list[Target]:
        """What is to be held from the next fill on, of the legs for which that changes. `equity` and `closes` (by leg)
        are those of this close."""
        if self.halted is not None:
            return []
        if drawn_down and self._rules.on_drawdown is OnDrawdown.HALT:
            return self._halt(LogEntry(bar=bar, leg=-1, event=LogEvent.DRAWDOWN_HALT))
        made: list[Target] = []
        for leg, direction in changes:
            if not direction:
                made.append((leg, 0.0))
                continue
            size = sized(self._rules, equity, closes[leg], drawn_down)
            if size.limit is not None:
                lot = self._rules.lot
                entry = LogEntry(bar=bar, leg=leg, event=size.limit, wanted=size.wanted * lot, done=size.lots * lot)
                if size.limit is LogEvent.POSITION_HALT:
                    return self._halt(entry)
                self.log.append(entry)
            made.append((leg, direction * size.lots))
        return made

    def _halt(self, entry: LogEntry) -> list[Target]:
        self.halted = entry.bar
        self.log.append(entry)
        return [(leg, 0.0) for leg in range(self._legs)]

    def done(self, bar: int, leg: int, lots: float, filled: float) -> None:
        """An order for `lots` came to `filled` in `bar`; both below 0 for a sale."""
        if abs(filled) < abs(lots):
            lot = self._rules.lot
            self.log.append(
                LogEntry(bar=bar, leg=leg, event=LogEvent.CASH_CLIPPED, wanted=abs(lots) * lot, done=abs(filled) * lot)
            )
