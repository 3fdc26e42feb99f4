"""The interface of a strategy, and the checks that its parameters share.

What `decide` sees: the bars that closed now, one of each leg, and nothing later. What it keeps lies in `state`, floats
that it may read and write; both are indexed and nothing else, so that lists and arrays will do. Sums are taken anew at
each bar, in one order: a running sum would drift, and would differ between one that began earlier and one that did not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

FLAT, LONG, SHORT = 0.0, 1.0, -1.0
"""What a strategy may want to hold of a leg: nothing, a position, a sold position."""
OPEN, HIGH, LOW, CLOSE = 0, 1, 2, 3
"""Where the prices of a bar stand."""

Number = int | float


class State(Protocol):
    """Floats by their place."""

    def __getitem__(self, place: int, /) -> float: ...

    def __setitem__(self, place: int, value: float, /) -> None: ...


Prices = Sequence[Sequence[float]]
"""By leg: open, high, low, close of the bar."""
Wanted = State
"""By leg: LONG, FLAT or SHORT; what is not written stays as it was wanted before."""
Decide = Callable[[State, Sequence[float], Prices, Wanted], None]
"""decide(state, numbers, prices, wanted): what to hold after this bar, from the next fill on."""


class Strategy(ABC):
    """Frozen parameters. See the module's text."""

    __slots__ = ()
    legs: ClassVar[int] = 1
    """Instruments that it trades."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name with its parameters, as it stands in positions, orders and results."""

    @property
    @abstractmethod
    def numbers(self) -> tuple[float, ...]:
        """The parameters as `decide` gets them."""

    @abstractmethod
    def state(self) -> list[float]:
        """The state before the first bar."""

    @property
    @abstractmethod
    def decide(self) -> Decide:
        """The function; the same object for all of a class, for it is compiled once."""


def whole(strategy: str, **values: Number) -> None:
    """Raise ValueError where one of `values` is no whole number of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or value != int(value) or value < 1:
            raise ValueError(f"{strategy}: {name}={value}: it counts bars. Give a whole number of at least 1")
