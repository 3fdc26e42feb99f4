"""All of a database's move on real servers, without a cluster: two Postgres, PgBouncer and its agent, the carrier, a
bank under load, and runs of the cutover."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.event_bus.view import RouteView
from adapters.postgres import slots, synchronous
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.carrier import End
from adapters.postgres.driver import Address, Connection, connect, sql
from adapters.postgres.errors import Unavailable
from adapters.postgres.side import opened
from adapters.postgres.transfers import balances, transfers
from adapters.routes.memory import MemoryAccess, MemoryLock, MemoryRegistry, MemoryRouteStore
from contracts.routes import Route
from contracts.stages import Component, Stage
from cutover.carrier.service import CarrierService
from cutover.context import Context
from cutover.database import DatabaseSteps, Moving
from cutover.plan import Step, StepMethod, Transition
from cutover.run import Outcome, Runner
from cutover.timing import Timing
from tests.contract.pooler.bench import (
    CLIENT,
    CLIENT_PASSWORD,
    Bouncer,
    RunningAgent,
    Switchboard,
    bouncer,
    find_pgbouncer,
    until,
)
from tests.contract.postgres_server import PASSWORD, Postgres
from tests.contract.two_postgres import HOSTED_ROLE, OWN_ROLE, address, new_pair, two_servers
from validation.bank.account import Book, read
from validation.bank.judging import Found, judge
from validation.bank.load import Load, Schedule
from validation.result import Report

TIMING = Timing(watch=0.5, watch_pace=0.1, fence=8.0, drain=10.0, backfill=60.0, lock_wait=1.0)


class Board(Switchboard):
    """The route and the registry, before anything was written."""

    def __init__(self) -> None:
        self.store = MemoryRouteStore()
        self.registry = MemoryRegistry()


class DatabaseWorld:
    """A pair of databases behind one pooler. `role` owns what the bank makes, at both sides."""

    def __init__(self, hosted: Postgres, own: Postgres, bouncing: Callable[[dict[str, Address]], Bouncer]) -> None:
        self.pair = new_pair(hosted, own)
        self.servers = {"hosted": self.pair.hosted, "selfhosted": self.pair.own}
        name = self.pair.hosted.database
        sides = {"hosted": address(hosted, name, OWN_ROLE), "selfhosted": address(own, name, OWN_ROLE)}
        with connect(self.pair.hosted, "test") as connection:
            database, role = sql.Identifier(name), sql.Identifier(OWN_ROLE)
            connection.execute(sql.SQL("grant create on database {} to {}").format(database, role))
        self.bouncer = bouncing(sides)
        self.board = Board()
        self.lock = MemoryLock()
        self.lines: list[str] = []
        self.tied = False
        self.later = timedelta()
        """How far the runs' time of day is ahead."""
        self.accepted = frozenset({"backup"})
        self.gone: set[str] = set()
        """Sides that were killed for good."""
        self.banks: list[Bank] = []
        self._runs = itertools.count(1)
        self.agent = RunningAgent(self.board, self.bouncer, pause_seconds=2.0)
        self._view = RouteView(self.board.store, Component.DATABASE)
        self.carrier = service = CarrierService(self._view, *(End(name, at) for name, at in self.servers.items()))
        self._carrier = threading.Thread(target=service.run, name="carrier", daemon=True)
        self._view.start()
        self._carrier.start()

    @property
    def client(self) -> Address:
        """What services connect to."""
        at = self.bouncer.settings
        return Address("127.0.0.1", at.port, at.database, CLIENT, CLIENT_PASSWORD, "disable")

    @property
    def moving(self) -> Moving:
        """What config says of the move."""
        return Moving(role=OWN_ROLE, tied=self.tied, accepted=self.accepted)

    @property
    def route(self) -> Route:
        """As it is."""
        return self.board.route

    def close(self) -> None:
        """End its threads."""
        for bank in self.banks:
            bank.end()
        self._view.stop()
        self._carrier.join(30)
        self.agent.kill()
        if "selfhosted" not in self.gone:
            with opened(self.servers["selfhosted"], "test", {"synchronous_commit": "local"}) as own:
                synchronous.wait_for_nobody(own)
        left = [(name, at) for name, at in self.servers.items() if name not in self.gone]
        for name, at in left:  # a server has few, and the next test needs the same names
            with connect(at, "test") as connection:
                until(lambda: dropped(connection, slot_name(name)), f"the slot at {name} is dropped")  # noqa: B023

    def context(self) -> Context:
        """Of another run."""
        store, registry = self.board.store, self.board.registry
        run = f"run-{next(self._runs)}"
        context = Context(
            Component.DATABASE, store, registry, self.lock, MemoryAccess(()), TIMING, run, self.lines.append
        )
        context.clock = lambda: datetime.now(UTC) + self.later
        return context

    def steps(self, context: Context, moving: Moving | None = None) -> DatabaseSteps:
        """Of another run."""
        return DatabaseSteps(context, self.servers, moving or self.moving)

    def migrate(
        self,
        stage: Stage,
        change: Callable[[DatabaseSteps], None] = lambda _: None,
        moving: Moving | None = None,
        *,
        emergency: bool = False,
    ) -> Outcome:
        """Run a Transition in this thread; `change` may put something into its steps."""
        context = self.context()
        steps = self.steps(context, moving)
        change(steps)
        try:
            return Runner(context, steps, stage, emergency=emergency).run()
        finally:
            steps.close()

    def reach(self, stage: Stage) -> None:
        """Bring it there, or fail with what was said."""
        outcome = self.migrate(stage)
        assert outcome.reached, "\n".join([outcome.message, *self.lines[-40:]])

    def serves(self) -> str:
        """The side that a client's statement arrives at."""
        return self.bouncer.serves()


def dropped(connection: Connection, name: str) -> bool:
    try:
        slots.drop_slot(connection, name)
    except Unavailable:
        return False
    return True


class Bank:
    """A run of the bank through the pooler, on a thread."""

    def __init__(self, world: DatabaseWorld, folder: Path, rate: float = 100.0, run: str = "run") -> None:
        self.world = world
        self.run = run
        self.path = folder / f"{run}.jsonl"
        self._book = Book(self.path)
        self._stop = threading.Event()
        load = Load(world.client, run, Schedule(rate, 300.0, clients=4), self._book, lambda _: None)
        load.prepare()
        self._thread = threading.Thread(target=lambda: load.run(self._stop.is_set), daemon=True)
        self._thread.start()
        world.banks.append(self)
        self.go_on(20)

    def go_on(self, count: int = 50) -> None:
        """Wait for so many more transfers."""
        goal = self._noted() + count
        until(lambda: self._noted() >= goal, "the bank goes on", 30)

    def _noted(self) -> int:
        return self.path.read_bytes().count(b"\n")

    def end(self) -> None:
        """Stop the load. Nothing where it has ended."""
        self._stop.set()
        self._thread.join(30)
        self._book.close()

    def judged(self) -> Report:
        """End it, and compare its book with the side that serves."""
        self.end()
        at = replace(self.world.client, user=CLIENT)
        with connect(at, "judge", session={}) as connection:
            found = Found.read(transfers(connection, self.run), balances(connection))
        return judge(list(read(self.path)), found, min_rate=1.0)


def before(step: Step, act: Callable[[], None]) -> Callable[[DatabaseSteps], None]:
    """Do something right before a step."""

    def change(steps: DatabaseSteps) -> None:
        real: StepMethod = steps.steps[step]

        def acted(transition: Transition) -> str:
            act()
            return real(transition)

        steps.steps[step] = acted

    return change


def as_client(world: DatabaseWorld, *statements: str) -> None:
    """Through the pooler."""
    with connect(world.client, "test", session={}) as client:
        for statement in statements:
            client.execute(statement.encode())


def asked(world: DatabaseWorld, side: str, query: str) -> list[tuple[Any, ...]]:
    """What a side says."""
    with connect(world.servers[side], "test") as connection:
        return connection.execute(query.encode()).fetchall()


@contextmanager
def database_servers() -> Iterator[tuple[Postgres, Postgres]]:
    """Both servers, with the workload's role at the hosted one, too, of which the migrating role is a member."""
    with two_servers() as (hosted, own):
        with connect(address(hosted, "postgres", "postgres"), "test") as admin:
            role = sql.Identifier(OWN_ROLE)
            admin.execute(sql.SQL("create role {} login password {}").format(role, sql.Literal(PASSWORD)))
            admin.execute(sql.SQL("grant {} to {}").format(role, sql.Identifier(HOSTED_ROLE)))
            # As Supabase's does: what it applies on the way back fires nothing.
            granted = sql.SQL("grant set on parameter session_replication_role to {}")
            admin.execute(granted.format(sql.Identifier(HOSTED_ROLE)))
        yield hosted, own


@contextmanager
def database_world(
    hosted: Postgres, own: Postgres, kind: type[DatabaseWorld] = DatabaseWorld
) -> Iterator[DatabaseWorld]:
    """A world of its own on running servers."""
    binary = find_pgbouncer()
    if binary is None:
        pytest.skip("there is no pgbouncer (CROSSOVER_PGBOUNCER, or on the PATH)")
    with ExitStack() as stack:
        world = kind(hosted, own, lambda sides: stack.enter_context(bouncer(binary, sides)))
        try:
            until(lambda: world.board.record.status.get("state") not in (None, "away"), "the agent found PgBouncer")
            yield world
        finally:
            world.close()
