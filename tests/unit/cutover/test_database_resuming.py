"""How often what a comparison found is kept, and what becomes of it where that fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from adapters.postgres import compared
from adapters.postgres.driver import Address
from adapters.postgres.errors import Unavailable
from adapters.postgres.masks import Masks
from adapters.routes.memory import MemoryAccess, MemoryLock, MemoryRegistry, MemoryRouteStore
from contracts.routes import Route
from contracts.stages import Component, Stage
from cutover.context import Context
from cutover.database import resuming
from cutover.database.resuming import EVERY_SECONDS, Resuming
from cutover.timing import Timing
from validation.database.progress import Part, Progress, TableProgress

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
AT = Address("127.0.0.1", 1, "d", "u")


class Clocked(Context):
    """A run whose time passes when it is told to. `lines`: what it said."""

    seconds = 0.0
    lines: list[str]

    def now(self) -> float:
        return self.seconds


class Store:
    """The table. `slow`: seconds that a write takes; `away`: nothing can be written."""

    def __init__(self, run: Clocked) -> None:
        self.rows: dict[str, str] = {}
        self.writes, self.slow, self.away = 0, 0.0, False
        self._run = run

    def write(self, _: object, comparison: str, state: str, at: datetime) -> None:
        self._run.seconds += self.slow
        if self.away:
            raise Unavailable("there is nobody")
        self.writes += 1
        self.rows[comparison] = state

    def forget(self, _: object, comparison: str) -> None:
        del self.rows[comparison]

    def read(self, _: object, comparison: str) -> str | None:
        return self.rows.get(comparison)


@pytest.fixture
def run() -> Clocked:
    """At noon."""
    route = Route(component=Component.DATABASE, stage=Stage.SHADOW, active="hosted", epoch=3)
    lines = list[str]()
    made = Clocked(
        Component.DATABASE, MemoryRouteStore(route), MemoryRegistry(), MemoryLock(), MemoryAccess(()), Timing(), "it",
        lines.append,
    )  # fmt: skip
    made.lines = lines
    made.clock = lambda: NOW + timedelta(seconds=made.seconds)
    made.read()
    return made


@pytest.fixture
def store(run: Clocked, monkeypatch: pytest.MonkeyPatch) -> Store:
    """In memory."""
    made = Store(run)

    @contextmanager
    def opened(address: Address, application: str, session: Mapping[str, str]) -> Iterator[None]:
        yield None

    monkeypatch.setattr(resuming, "opened", opened)
    for name in ("write", "forget", "read"):
        monkeypatch.setattr(compared, name, getattr(made, name))
    for name in ("server", "copied"):
        monkeypatch.setattr(compared, name, lambda _: "the same")
    return made


def begun(run: Clocked) -> tuple[Resuming, Progress]:
    made = Resuming(run, {"hosted": AT, "selfhosted": AT}, "selfhosted", "it")
    return made, made.begin(Masks(), "d")


def done(progress: Progress, ranges: int) -> Progress:
    parts = [Part(None, None, 1, NOW) for _ in range(ranges)]
    progress.tables["s.t"] = TableProgress("", parts)
    return progress


def test_it_is_written_now_and_then_and_not_at_every_range(run: Clocked, store: Store) -> None:
    kept, progress = begun(run)
    for ranges in range(1, 1001):
        run.seconds += 0.1
        kept.save(done(progress, ranges))
    assert store.writes == pytest.approx(100 / EVERY_SECONDS, abs=1)
    store.slow = 2.0
    store.writes = 0
    for ranges in range(1, 1001):
        run.seconds += 0.1
        kept.save(done(progress, ranges))
    assert store.writes <= 4  # a write takes a twentieth of the time at most


def test_a_short_comparison_writes_nothing_unless_it_is_cut_off(run: Clocked, store: Store) -> None:
    kept, progress = begun(run)
    kept.save(done(progress, 3))
    kept.end(progress, over=True)
    assert (store.writes, store.rows) == (0, {})
    kept.end(progress, over=False)
    assert begun(run)[1].done == (3, 3)
    kept, progress = begun(run)
    kept.end(progress, over=True)
    assert store.rows == {}
    kept.end(Progress(progress.identity), over=False)
    assert store.rows == {}  # nothing was done


def test_a_write_that_fails_is_said_and_tried_again_later(run: Clocked, store: Store) -> None:
    kept, progress = begun(run)
    store.away, run.seconds = True, 6.0
    for _ in range(50):
        run.seconds += 1
        kept.save(done(progress, 1))
    assert (store.rows, "".join(run.lines).count("could not be kept")) == ({}, 1)
    store.away, run.seconds = False, 100.0
    kept.save(progress)
    assert set(store.rows) == {"it"}


def test_without_an_identity_nothing_is_kept(run: Clocked, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> str:
        raise Unavailable("there is nobody")

    monkeypatch.setattr(compared, "server", refused)
    kept, progress = begun(run)
    run.seconds = 100.0
    kept.save(done(progress, 1))
    kept.end(progress, over=False)
    kept.end(progress, over=True)
    assert store.rows == {} and "begins anew" in run.lines[0]


def test_a_verdict_that_expires_sooner_is_what_limits_it(run: Clocked, store: Store) -> None:
    kept, progress = begun(run)
    kept.end(done(progress, 1), over=False)
    run.seconds = 1800.0
    assert begun(run)[1].done == (1, 1)
    run.verdict_limit = timedelta(minutes=20)
    assert begun(run)[1].done == (0, 0)
    assert "nothing of it is younger than 0.33" in run.lines[-1]
