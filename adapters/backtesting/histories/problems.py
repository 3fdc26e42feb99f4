"""What is wrong with a file of bars: which rows, their values, why, and the fix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.backtesting.base import BacktestError

NAMED = 3
"""Rows of a kind of problem that are named; all are counted."""
Numbers = NDArray[np.int64]


class HistoryError(BacktestError):
    """A file of bars, or a history of a catalog, that cannot be used: which, the row, its value, why, and the fix."""


class Replaced(HistoryError):
    """There is another history of that symbol now: asking again is asking for something else."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Problem:
    """One kind of it. `rows`: those that have it, by their number from 0 on, at least one; `say`: of one of them, its
    value and why that cannot be."""

    rows: Numbers
    say: Callable[[int], str]
    fix: str


def found(bad: NDArray[np.bool_], say: Callable[[int], str], fix: str) -> list[Problem]:
    """The problem of the rows that are `bad`, as a list; none where none is."""
    rows = np.flatnonzero(bad)
    return [Problem(rows=rows, say=say, fix=fix)] if len(rows) else []


def refusal(name: str, problems: Sequence[Problem], where: Callable[[int], str]) -> HistoryError:
    """The error that tells of all `problems` of the file `name`; `where`: a row as its reader finds it."""
    count = sum(len(problem.rows) for problem in problems)
    lines = [f"{name} has {count} {'problem' if count == 1 else 'problems'}, nothing of it was taken:"]
    for problem in problems:
        lines += [f"{where(int(row))}: {problem.say(int(row))}" for row in problem.rows[:NAMED]]
        more = len(problem.rows) - NAMED
        lines.append(f"{f'and {more} more of this kind. ' if more > 0 else ''}Fix: {problem.fix}")
    return HistoryError("\n".join(lines))
