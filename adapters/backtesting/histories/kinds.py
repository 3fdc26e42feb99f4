"""Lengths of bars: in nanoseconds, and as Nautilus names them."""

from __future__ import annotations

from adapters.backtesting.histories.problems import HistoryError

VENUE = "CROSSOVER"
_SECOND = 10**9
_UNITS = (("DAY", 86_400, 1), ("HOUR", 3600, 24), ("MINUTE", 60, 60), ("SECOND", 1, 60))
"""Name, seconds, and how many make the next: Nautilus takes what divides that."""


def kind_of(period: int, name: str) -> str:
    """`5-MINUTE`, for bars of `period` nanoseconds. Raises HistoryError, naming the file `name`, where Nautilus knows
    no such bars."""
    for unit, seconds, most in _UNITS:
        steps, rest = divmod(period, seconds * _SECOND)
        if steps and not rest and (steps == 1 or (steps < most and most % steps == 0)):
            return f"{steps}-{unit}"
    raise HistoryError(
        f"{name} has bars of {period / _SECOND:g} s, which NautilusTrader does not know: resample them to a part of a "
        "minute, an hour or a day (1, 5, 15, 30 minutes, 1, 4 hours), or to a day"
    )


def bar_type(symbol: str, period: int) -> str:
    """As Nautilus names the bars of `symbol`, and the folder in which they lie."""
    return f"{symbol}.{VENUE}-{kind_of(period, symbol)}-LAST-EXTERNAL"
