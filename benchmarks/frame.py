"""What every benchmark shares: rounds that take turns, medians with their spread, and the report.

A machine's speed wanders. So what is compared runs by turns, round by round, and a ratio is the
median of the rounds' ratios, never the ratio of two means taken at different times.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

REPORTS = Path(__file__).resolve().parents[1] / "reports" / "bench"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, the quartiles, and how many rounds there were."""

    median: float
    low: float
    high: float
    rounds: int

    @property
    def text(self) -> str:
        """For the report's `how`."""
        return f"median of {self.rounds} rounds, IQR {self.low:.4g} to {self.high:.4g}"


def spread(values: Sequence[float]) -> Spread:
    """The spread of `values`; at least two are needed."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, len(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure. `limit` is what must hold, `aim` what is wanted, None: nobody has said; `at_most` says which side is
    good."""

    figure: str
    value: float
    unit: str
    limit: float | None = None
    aim: float | None = None
    at_most: bool
    how: str

    def within(self, bound: float | None) -> bool:
        """Whether the value is on the good side of `bound`."""
        if bound is None:
            return True
        return self.value <= bound if self.at_most else self.value >= bound

    @property
    def met(self) -> bool:
        """Whether the aim is met; so it is where there is none."""
        return self.within(self.aim)

    def entry(self) -> dict[str, Any]:
        """The entry of the report."""
        return {
            "figure": self.figure,
            "value": round(self.value, 4),
            "unit": self.unit,
            "limit": self.limit,
            "aim": self.aim,
            "met": self.met,
            "how": self.how,
        }


def take_turns[T](rounds: int, contenders: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Run each contender once a round; the order turns around from round to round. One round before is
    not counted: it loads code and opens connections."""
    results: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        order = list(contenders) if number % 2 else list(contenders)[::-1]
        for name in order:
            result = contenders[name]()
            if number:
                results[name].append(result)
    return results


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """The spread of the rounds' ratios."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def report(name: str, figures: Sequence[Figure]) -> int:
    """Write reports/bench/NAME.json and show it; the exit status: 1 where a limit is not kept."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"{name}.json").write_text(json.dumps([figure.entry() for figure in figures], indent=2) + "\n")
    table = Table(title=f"{name}, Python {platform.python_version()}, {platform.machine()}", title_justify="left")
    for column in ("figure", "value", "limit", "aim"):
        table.add_column(column, justify="right" if column in ("value", "limit", "aim") else "left")
    for figure in figures:
        sign = "≤" if figure.at_most else "≥"
        style = "bold red" if not figure.within(figure.limit) else "green" if figure.met else "yellow"
        table.add_row(
            figure.figure, f"[{style}]{figure.value:.4g} {figure.unit}[/{style}]",
            *("" if bound is None else f"{sign} {bound:g}" for bound in (figure.limit, figure.aim)),
        )  # fmt: skip
    Console().print(table)
    Console().print(f"how each was taken, with its spread: reports/bench/{name}.json")
    broken = [figure.figure for figure in figures if not figure.within(figure.limit)]
    if broken:
        Console().print(f"[bold red]not within their limits:[/bold red] {', '.join(broken)}")
    return 1 if broken or not figures else 0
