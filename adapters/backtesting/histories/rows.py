"""What was read of a file, as arrays, before it is known to be bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from adapters.backtesting.bars import Floats, Stamps
from adapters.backtesting.histories.problems import Numbers

NUMBERS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rows:
    """`times` in nanoseconds since 1970: `instants`, of UTC; or else what a clock shows. `lines`: the number of each
    row as in the file, where one is a `word`."""

    times: Stamps
    instants: bool
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    lines: Numbers
    word: str

    def __len__(self) -> int:
        return len(self.times)

    def where(self, row: int) -> str:
        """Row number `row` as its reader finds it."""
        return f"{self.word} {self.lines[row]}"

    def with_numbers(self, numbers: Mapping[str, Floats]) -> Self:
        """The same with other prices and volumes."""
        arrays: dict[str, Any] = {name: numbers[name] for name in NUMBERS}
        return replace(self, **arrays)
