"""Comparisons of a moved database that are killed, and the runs that come after them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.postgres import compared
from adapters.postgres.checksums import Span
from adapters.postgres.driver import connect
from adapters.postgres.masks import Masks
from adapters.postgres.side import Side
from adapters.routes.memory import MemoryAccess, MemoryLock, MemoryRegistry, MemoryRouteStore
from contracts.routes import Route
from contracts.stages import Component
from cutover.context import Context, StepFailed
from cutover.database.work import DatabaseWork
from tests.contract.database_world import TIMING, DatabaseWorld, asked
from tests.contract.pooler.bench import Killed, die
from validation.database.progress import Progress

# ruff: noqa: S608  the statements of these tests are put together from constants
ROWS, RANGE_ROWS = 6_000, 1_000
NAME = "shadow -> shadow"
"""Of the comparison that `crossover validate database` makes in shadow."""
_MARKED = """
insert into crossover.mark values ('by hand', '0/1', now()) on conflict (stream) do update set at = now()
"""


def carried(world: DatabaseWorld, statement: str) -> None:
    """Execute at the side that does not serve, as if the carrier had brought it."""
    with connect(world.pair.own, "test", autocommit=False) as own:
        own.execute(_MARKED)
        own.execute(statement.encode())
        own.commit()


class Run:
    """Of a check: an object of its own over its own copy of the route, with nothing in memory."""

    def __init__(
        self, world: DatabaseWorld, *, route: Route | None = None, later: timedelta = timedelta(), mask: str = ""
    ) -> None:
        self.lines = list[str]()
        self.context = Context(
            Component.DATABASE, MemoryRouteStore(route or world.route), MemoryRegistry(), MemoryLock(),
            MemoryAccess(()), TIMING, "a check", self.lines.append,
        )  # fmt: skip
        self.context.clock = lambda: datetime.now(UTC) + later
        self.context.read()
        self._servers, self._moving = world.servers, replace(world.moving, masks=Masks.parse(mask))

    def compare(self, name: str = NAME) -> str:
        """What it says at its end. Raises StepFailed where something differs."""
        made = DatabaseWork(self.context, self._servers, self._moving)
        try:
            return made.compare(name)
        finally:
            made.close()

    def differing(self) -> set[str]:
        """The keys of rows that differ, as it names them."""
        with pytest.raises(StepFailed):
            self.compare()
        details = "".join(check.detail for check in self.context.checks)
        return {part.partition("'")[0] for part in details.split("id = '")[1:]}

    @property
    def said(self) -> str:
        """All of it."""
        return "\n".join(self.lines)


def killed_after(ranges: int, act: Callable[[], object]) -> None:
    """`act` dies once so many ranges were kept, and writes nothing any more."""
    real, left = compared.write, ranges

    def write(side: Side, comparison: str, state: str, at: datetime) -> None:
        nonlocal left
        if not left:
            die()
        left -= 1
        real(side, comparison, state, at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compared, "write", write)
        patch.setattr(compared, "forget", lambda *_: die())
        with pytest.raises(Killed):
            act()


def kept(world: DatabaseWorld, name: str = NAME) -> Progress | None:
    """What is kept at the side that does not serve."""
    rows = asked(world, "selfhosted", f"select state from crossover.compared where comparison = '{name}'")
    return Progress.from_json(rows[0][0]) if rows else None


def ranges_of(progress: Progress | None, *, done: bool) -> list[tuple[str, Span]]:
    """Those that are done, or left."""
    assert progress is not None
    return [
        (name, part.span)
        for name, table in progress.tables.items()
        for part in table.parts
        if (part.rows is not None) is done
    ]


def spoilt(world: DatabaseWorld, among: list[tuple[str, Span]]) -> set[str]:
    """The key of a row of the large table in one of these ranges, which differs from now on; none where it has none."""
    for name, span in among:
        lower = int(span.lower[0]) if span.lower else 0
        if name == "shop.item" and lower < ROWS:
            carried(world, f"update shop.item set v = 'spoilt' where id = {lower + 7}")
            return {str(lower + 7)}
    return set()
