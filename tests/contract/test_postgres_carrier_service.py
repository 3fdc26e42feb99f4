"""The carrier's process follows the route, and goes on after whatever happens to a server; on real ones."""

# ruff: noqa: S608 - the tests' own names and numbers

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from adapters.event_bus.view import RouteView
from adapters.postgres import bookkeeping, unfollowed
from adapters.postgres.driver import connect
from adapters.postgres.heartbeats import heard
from adapters.postgres.side import opened
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from contracts.routes import Mirror, Route
from contracts.stages import Component, Stage
from cutover.carrier import service
from cutover.carrier.service import CarrierService
from cutover.carrier.telling import Carried, Telling, read
from tests.contract.carrying import Lane, lane, wait_until
from tests.contract.postgres_server import Postgres
from tests.contract.two_postgres import two_servers

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with two_servers() as both:
        yield both


class Running:
    """The service on a thread, with a route of the test's own."""

    def __init__(self, between: Lane) -> None:
        self.between = between
        self.store = MemoryRouteStore()
        self.registry = MemoryRegistry()
        self.view = RouteView(self.store, Component.DATABASE)
        self.service = CarrierService(self.view, *between.ends.values())
        self._epoch = 0
        self._thread = threading.Thread(target=self.service.run)

    def route(self, source: str | None, since: str = "0/1") -> None:
        """Name the side from which content comes."""
        self._epoch += 1
        mirror = None
        if source is not None:
            target = "selfhosted" if source == "hosted" else "hosted"
            starts = {"wal": {"lsn": since}}
            mirror = Mirror(source=source, target=target, starts=starts, target_starts={"wal": {"lsn": "0/1"}})
        active = source or "hosted"
        route = Route(component=Component.DATABASE, stage=Stage.SHADOW, active=active, epoch=self._epoch, mirror=mirror)
        self.store.write(route, self.store.read(Component.DATABASE).version)
        wait_until(lambda: self.service._current == mirror)

    def start(self) -> None:
        """Begin."""
        self.view.start()
        self._thread.start()

    def stop(self) -> None:
        """As at SIGTERM."""
        self.view.stop()
        self._thread.join(30)
        assert not self._thread.is_alive() and self.service.directions == ()

    def told(self) -> dict[str, Carried]:
        """What status would be told now."""
        Telling(self.registry, "pod", self.service.standing).tell()
        return read(self.registry.posted(Component.DATABASE))

    def proved(self, source: str) -> None:
        """Wait for a heartbeat of `source` that is written from now on."""
        target = "selfhosted" if source == "hosted" else "hosted"
        known = heard(self.between.at(source), source)
        wait_until(lambda: heard(self.between.at(target), source) > known)

    def reopened(self) -> None:
        """Connect the test anew, after a restart."""
        for connection in (self.between.hosted, self.between.own):
            connection.close()
        self.between.hosted = connect(self.between.pair.hosted, "test")
        self.between.own = connect(self.between.pair.own, "test")


@contextmanager
def running(servers: tuple[Postgres, Postgres]) -> Iterator[Running]:
    with lane(servers) as between:
        between.both("create table shop.t (id int primary key, v text)")
        between.follow()
        made = Running(between)
        made.start()
        try:
            yield made
        finally:
            made.stop()


def count(between: Lane, name: str) -> int:
    """How many rows a side has."""
    return len(between.rows(name, "select from shop.t"))


def test_it_carries_as_the_route_says_and_turns_with_it(servers: tuple[Postgres, Postgres]) -> None:
    with running(servers) as made:
        between = made.between
        between.hosted.execute("insert into shop.t values (1, 'before it began')")
        made.route("hosted")
        made.proved("hosted")
        made.proved("selfhosted")
        between.same("t")
        assert all(told.lag_bytes is not None and not told.held for told in made.told().values())
        between.own.execute("insert into shop.t values (2, 'too early')")
        _, back = made.service.directions
        wait_until(lambda: back.state is not None and back.state.held is not None)
        assert {source: told.held for source, told in made.told().items()} == {"hosted": 0, "selfhosted": 1}
        assert count(between, "hosted") == 1
        since = between.rows("selfhosted", "select pg_current_wal_insert_lsn()::text")[0][0]
        made.route("selfhosted", str(since))  # what was written before it stays held
        between.hosted.execute("insert into shop.t values (3, 'too late')")
        there, _ = made.service.directions
        wait_until(lambda: there.state is not None and there.state.held is not None)
        assert count(between, "selfhosted") == 2 and count(between, "hosted") == 2
        between.hosted.execute("delete from shop.t where id = 3")  # by hand
        made.route("selfhosted", "0/1")
        made.proved("selfhosted")
        assert between.rows("hosted", "select id from shop.t order by 1") == [(1,), (2,)]
        made.route(None)
        wait_until(lambda: made.service.directions == ())
        assert made.told() == {}


def test_a_table_that_is_new_at_the_side_that_serves_is_told_and_noted_until_both_sides_follow_it(
    servers: tuple[Postgres, Postgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.1)
    with running(servers) as made:
        made.route("selfhosted")
        made.proved("selfhosted")
        between = made.between
        with opened(between.pair.hosted, "test") as hosted:
            assert not made.told()["selfhosted"].unfollowed and unfollowed.noted(hosted) == ()
            between.own.execute("create table shop.later (id int primary key)")
            wait_until(lambda: unfollowed.noted(hosted) == ("shop.later",))
            assert made.told()["selfhosted"].unfollowed == "shop.later" and not made.told()["hosted"].unfollowed
            between.own.execute("alter publication crossover add table shop.later")
            between.hosted.execute("create table shop.later (id int primary key)")
            time.sleep(3 * service.LOOK_SECONDS)  # three looks: at one side alone it is not followed
            assert unfollowed.noted(hosted) == ("shop.later",)
            between.hosted.execute("alter publication crossover add table shop.later")
            wait_until(lambda: unfollowed.noted(hosted) == ())
            wait_until(lambda: not made.told()["selfhosted"].unfollowed)


def test_a_server_that_is_restarted_is_gone_on_with(servers: tuple[Postgres, Postgres]) -> None:
    with running(servers) as made:
        between = made.between
        made.route("hosted")
        made.proved("hosted")
        for number, server in enumerate((*servers, *servers)):
            server.stop(2 if number < 2 else 3)  # the last two times as if they had crashed
            if server is servers[1]:
                between.hosted.execute(
                    f"insert into shop.t select n, 'x' from generate_series({number}00, {number}50) n"
                )
            server.start()
            made.reopened()
            made.between.hosted.execute(f"insert into shop.t values ({number}, 'after')")
            made.proved("hosted")
            made.proved("selfhosted")
            between.same("t")
        assert count(between, "selfhosted") == 4 + 2 * 51
        assert all(direction.error == "" for direction in made.service.directions)


def test_a_conflict_is_told_and_gone_on_with_once_it_is_mended(servers: tuple[Postgres, Postgres]) -> None:
    with running(servers) as made:
        between = made.between
        made.route("hosted")
        made.proved("hosted")
        between.own.execute("set session_replication_role = replica")
        with between.own.transaction():  # as the carrier itself would have: marked, so that it does not come back
            between.own.execute(
                "update crossover.mark set at = now() where stream = %s", (bookkeeping.slot_name("hosted"),)
            )
            between.own.execute("insert into shop.t values (1, 'stray')")
        between.hosted.execute("insert into shop.t values (1, 'right')")
        there, _ = made.service.directions
        wait_until(lambda: "Conflict: shop.t" in there.error)
        assert there.state is not None and "t_pkey" in there.state.error
        assert "t_pkey" in made.told()["hosted"].error
        made.proved("selfhosted")  # the other way is not touched by it
        with between.own.transaction():
            between.own.execute(
                "update crossover.mark set at = now() where stream = %s", (bookkeeping.slot_name("hosted"),)
            )
            between.own.execute("delete from shop.t")
        made.proved("hosted")
        between.same("t")


def test_a_stream_is_a_synchronous_standby_by_its_name(servers: tuple[Postgres, Postgres]) -> None:
    with running(servers) as made:
        between = made.between
        made.route("selfhosted")
        made.proved("selfhosted")
        between.own.execute(f"alter system set synchronous_standby_names = '{bookkeeping.slot_name('selfhosted')}'")
        between.own.execute("select pg_reload_conf()")
        state = "select sync_state from pg_stat_replication where application_name = 'crossover_from_selfhosted'"
        try:
            wait_until(lambda: between.rows("selfhosted", state) == [("sync",)])
            for number in range(20):
                between.own.execute(f"insert into shop.t values ({number}, 'x')")
                assert count(between, "hosted") == number + 1  # a COMMIT returns once it is there, too
            made.proved("hosted")  # what comes from the other side waits for nobody
        finally:
            between.own.execute("alter system reset synchronous_standby_names")
            between.own.execute("select pg_reload_conf()")
