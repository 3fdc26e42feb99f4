"""The contract of a trading store, kept by the fake, by Postgres, and by Postgres behind PgBouncer."""

from __future__ import annotations

import hashlib
import shutil
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import psycopg
import pytest

from adapters.database import errors
from adapters.database.base import (
    Effects,
    Fill,
    NewOrder,
    OrderStatus,
    Position,
    Received,
    StrategyState,
    TradingStore,
    TradingTx,
)
from adapters.database.memory import MemoryTradingStore
from adapters.database.postgres import PostgresTradingStore
from contracts.envelope import Event
from contracts.market import Side, Signal
from tests.contract import postgres_server

STRATEGY = "sma"


@pytest.fixture(scope="module")
def server() -> Iterator[postgres_server.Postgres]:
    binaries = postgres_server.find_postgres()
    if binaries is None:
        pytest.skip("no Postgres server binaries here: install postgresql, or set CROSSOVER_POSTGRES_BIN")
    with postgres_server.postgres(binaries) as running:
        with psycopg.connect(running.url("postgres", "postgres"), autocommit=True) as admin:
            admin.execute(f"create role trading login password '{postgres_server.PASSWORD}'")
        yield running


@pytest.fixture(scope="module")
def pooler_port(server: postgres_server.Postgres) -> Iterator[int]:
    if shutil.which("pgbouncer") is None and shutil.which("pgbouncer", path="/usr/sbin") is None:
        pytest.skip("pgbouncer is not installed here")
    with postgres_server.pgbouncer(server) as port:
        yield port


def new_database(server: postgres_server.Postgres) -> str:
    name = f"trading_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute(f'create database "{name}" owner trading')
    return name


@pytest.fixture(params=["memory", "postgres", "pgbouncer"])
def store(request: pytest.FixtureRequest) -> Iterator[TradingStore]:
    if request.param == "memory":
        yield MemoryTradingStore()
        return
    server = request.getfixturevalue("server")
    port = request.getfixturevalue("pooler_port") if request.param == "pgbouncer" else None
    opened = PostgresTradingStore(server.url(new_database(server), port=port), application="contract", retry_seconds=10)
    try:
        opened.migrate()
        yield opened
    finally:
        opened.close()


def received(number: int, key: str = "SP500") -> Received:
    digest = hashlib.sha256(str(number).encode()).digest()
    return Received(event_id=f"event-{number}", topic="market_data", key=key, sequence=number, payload_sha256=digest)


def signal(number: int, key: str = "SP500") -> Signal:
    return Signal(
        signal_id=f"signal-{number}",
        strategy=STRATEGY,
        key=key,
        symbol=key,
        side=Side.BUY if number % 2 else Side.SELL,
        price=1228.099976,
        date=date(1999, 1, 4),
        source_event_id=f"event-{number}",
    )


def order(number: int, key: str = "SP500") -> NewOrder:
    return NewOrder(
        order_id=f"order-{number}",
        signal_id=f"signal-{number}",
        strategy=STRATEGY,
        key=key,
        symbol=key,
        side=Side.BUY,
        quantity=Decimal(8),
        source_event_id=f"event-{number}",
    )


def state(text: str, key: str = "SP500", price: str = "1228.1") -> StrategyState:
    return StrategyState(strategy=STRATEGY, key=key, symbol=key, last_price=Decimal(price), state=text)


def position(quantity: int, key: str = "SP500") -> Position:
    return Position(
        strategy=STRATEGY,
        key=key,
        symbol=key,
        quantity=Decimal(quantity),
        average_price=Decimal("1229.5"),
        realized_pnl=Decimal("-3.25"),
    )


def event(number: int, key: str = "SP500") -> Event:
    made = Event.create("trading_signals", key, bytes([0, 255, number]), source="trading-engine", type="t")
    return made._replace(id=f"out-{number}")


def write(store: TradingStore, effects: Effects, keys: tuple[str, ...] = ("SP500",)) -> None:
    def work(tx: TradingTx) -> None:
        tx.load(STRATEGY, keys)
        tx.write(effects)

    store.run(work)


def test_an_event_is_claimed_once_by_each_group(store: TradingStore) -> None:
    first = store.run(lambda tx: tx.claim("a", [received(1), received(2), received(1)]))
    again = store.run(lambda tx: tx.claim("a", [received(2), received(3)]))
    other = store.run(lambda tx: tx.claim("b", [received(1)]))
    assert first == {"event-1", "event-2"}
    assert again == {"event-3"}
    assert other == {"event-1"}


def claim(store: TradingStore, group: str, event: Received) -> None:
    store.run(lambda tx: tx.claim(group, [event]))


def test_claims_are_told_in_the_order_of_their_effects(store: TradingStore) -> None:
    for event in (received(3), received(1), received(2)):
        claim(store, "engine", event)
    claim(store, "another", received(1))
    found = store.claimed("engine", [f"event-{number}" for number in (1, 2, 3, 4)])
    assert [claim.received for claim in found] == [received(3), received(1), received(2)]
    assert sorted(claim.number for claim in found) == [claim.number for claim in found]
    assert store.claimed("engine", ["event-4"]) == []


def test_a_transaction_that_raises_leaves_nothing(store: TradingStore) -> None:
    def work(tx: TradingTx) -> None:
        tx.claim("a", [received(1)])
        tx.load(STRATEGY, ["SP500"])
        tx.write(
            Effects(states=[state("{}")], positions=[position(1)], signals=[signal(1)], orders=[order(1)],
                    outbox=[event(1)])
        )  # fmt: skip
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.run(work)
    assert store.run(lambda tx: tx.claim("a", [received(1)])) == {"event-1"}
    assert store.run(lambda tx: tx.load(STRATEGY, ["SP500"])) == {}
    assert (store.positions(), store.signals(), store.orders(), store.unsent(10)) == ([], [], [], [])


def test_what_is_written_is_loaded(store: TradingStore) -> None:
    write(store, Effects(states=[state('{"a":1}')]))
    bare = store.run(lambda tx: tx.load(STRATEGY, ["SP500", "NASDAQ"]))
    assert bare.keys() == {"SP500"}
    assert (bare["SP500"].state, bare["SP500"].position) == ('{"a":1}', None)
    write(store, Effects(states=[state('{"a":2}', price="1300")], positions=[position(7)]))
    full = store.run(lambda tx: tx.load(STRATEGY, ["SP500"]))["SP500"]
    assert full.state == '{"a":2}'
    assert full.position == position(7)
    assert store.positions() == [replace(position(7), last_price=Decimal(1300))]
    assert store.run(lambda tx: tx.load("another", ["SP500"])) == {}


def test_orders_are_filled_once(store: TradingStore) -> None:
    write(store, Effects(signals=[signal(1)], orders=[order(1)]))
    (opened,) = store.orders()
    assert (opened.status, opened.fill_price, opened.filled_at) == (OrderStatus.OPEN, None, None)
    write(store, Effects(fills=[Fill(order_id="order-1", price=Decimal("1230.25"), event_id="event-2")]))
    (filled,) = store.orders()
    assert (filled.status, filled.fill_price) == (OrderStatus.FILLED, Decimal("1230.25"))
    assert filled.filled_at is not None
    with pytest.raises(errors.InvalidRequest):
        write(store, Effects(fills=[Fill(order_id="order-1", price=Decimal(1), event_id="event-3")]))
    assert store.orders() == [filled]


@pytest.mark.parametrize(
    "effects",
    [
        Effects(signals=[signal(1)]),
        Effects(signals=[replace(signal(1), signal_id="another id, same cause")]),
        Effects(orders=[order(1)]),
        Effects(orders=[replace(order(1), order_id="new", signal_id="no such signal")]),
        Effects(outbox=[event(1)]),
        Effects(fills=[Fill(order_id="no such order", price=Decimal(1), event_id="e")]),
    ],
    ids=["signal", "signal's cause", "order", "order without signal", "outbox", "fill"],
)
def test_what_would_double_or_dangle_is_refused_whole(store: TradingStore, effects: Effects) -> None:
    write(store, Effects(signals=[signal(1)], orders=[order(1)], outbox=[event(1)]))
    with pytest.raises(errors.InvalidRequest):
        write(store, replace(effects, positions=[position(5)]))
    assert store.positions() == []


def test_pages_go_back_in_time_without_gap_or_overlap(store: TradingStore) -> None:
    numbers = range(1, 8)
    write(store, Effects(signals=[signal(n) for n in numbers], orders=[order(n) for n in numbers]))
    write(store, Effects(signals=[signal(9, "NASDAQ")], orders=[order(9, "NASDAQ")]), ("NASDAQ",))
    ids: list[str] = []
    before = None
    while page := store.signals(before=before, limit=3):
        ids += [row.signal.signal_id for row in page]
        before = page[-1].number
    assert ids == ["signal-9", *(f"signal-{n}" for n in reversed(numbers))]
    assert [row.order_id for row in store.orders(key="SP500", limit=2)] == ["order-7", "order-6"]
    assert [row.signal for row in store.signals(key="NASDAQ")] == [signal(9, "NASDAQ")]


def test_positions_are_paged_by_key(store: TradingStore) -> None:
    keys = ("A", "B", "C")
    write(store, Effects(states=[state("s", k) for k in keys], positions=[position(1, k) for k in keys]), keys)
    assert [row.key for row in store.positions(limit=2)] == ["A", "B"]
    assert [row.key for row in store.positions(after="B", limit=2)] == ["C"]


def test_a_comment_is_set_once(store: TradingStore) -> None:
    write(store, Effects(signals=[signal(1)]))
    assert store.set_comment("signal-1", "first") is True
    assert store.set_comment("signal-1", "second") is False
    assert store.set_comment("no such signal", "x") is False
    assert [row.comment for row in store.signals()] == ["first"]


def test_the_outbox_keeps_order_identity_and_bytes(store: TradingStore) -> None:
    events = [event(n) for n in (3, 1, 2)]
    write(store, Effects(outbox=events[:2]))
    write(store, Effects(outbox=events[2:]))
    assert store.unsent(10) == events
    assert store.unsent(2) == events[:2]
    assert store.mark_sent(["out-1", "out-3", "no such event"]) == 2
    assert store.mark_sent(["out-1"]) == 0
    assert store.unsent(10) == events[2:]
    assert store.waiting() == 1


def test_a_lease_has_one_holder(store: TradingStore) -> None:
    assert store.take_lease("outbox", "a", 30)
    assert store.take_lease("outbox", "a", 30)
    assert not store.take_lease("outbox", "b", 30)
    store.drop_lease("outbox", "b")
    assert not store.take_lease("outbox", "b", 30)
    store.drop_lease("outbox", "a")
    assert store.take_lease("outbox", "b", 0)
    assert store.take_lease("outbox", "a", 30)


def test_purge_takes_only_what_is_old_and_done(store: TradingStore) -> None:
    store.run(lambda tx: tx.claim("a", [received(1), received(2)]))
    write(store, Effects(outbox=[event(1), event(2)]))
    store.mark_sent(["out-1"])
    assert store.purge(timedelta(hours=1)) == 0
    assert store.purge(timedelta(0), limit=1) == 2
    assert store.purge(timedelta(0)) == 1
    assert [item.id for item in store.unsent(10)] == ["out-2"]


def test_two_that_claim_the_same_events_at_once_share_them(store: TradingStore) -> None:
    """Both read before either commits: the second waits for the first, and gets nothing of it."""
    batch = [received(n) for n in range(50)]
    barrier = threading.Barrier(2, timeout=20)

    def member(_: int) -> frozenset[str]:
        barrier.wait()
        return store.run(lambda tx: tx.claim("a", batch))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(member, range(2))
    assert first | second == {item.event_id for item in batch}
    assert not first & second


def test_a_key_is_locked_while_a_transaction_has_it(store: TradingStore) -> None:
    """Lost updates show as a count that is too small."""

    def bump(_: int) -> None:
        def work(tx: TradingTx) -> None:
            found = tx.load(STRATEGY, ["SP500", "NASDAQ"])
            count = int(found["SP500"].state) if "SP500" in found else 0
            tx.write(Effects(states=[state(str(count + 1))]))

        store.run(work)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bump, range(40)))
    assert store.run(lambda tx: tx.load(STRATEGY, ["SP500"]))["SP500"].state == "40"


def test_migrations_run_once_however_many_start(server: postgres_server.Postgres, pooler_port: int) -> None:
    url = server.url(new_database(server), port=pooler_port)
    stores = [PostgresTradingStore(url, application=f"m{n}", retry_seconds=10) for n in range(4)]
    try:
        with ThreadPoolExecutor(4) as pool:
            ran = [name for names in pool.map(lambda store: store.migrate(), stores) for name in names]
        assert ran == ["0001_trading.sql"]
    finally:
        for store in stores:
            store.close()


def test_an_edited_migration_is_refused(server: postgres_server.Postgres) -> None:
    url = server.url(new_database(server))
    store = PostgresTradingStore(url, application="m", retry_seconds=10)
    try:
        store.migrate()
        with psycopg.connect(url) as connection:
            connection.execute("update trading.schema_migrations set sha256 = 'x'")
        with pytest.raises(errors.SchemaMismatch, match=r"0001_trading\.sql was edited"):
            store.migrate()
    finally:
        store.close()


def test_wrong_credentials_are_named_without_being_shown(server: postgres_server.Postgres) -> None:
    url = server.url().replace(postgres_server.PASSWORD, "wrong-password-9")
    store = PostgresTradingStore(url, application="m", retry_seconds=1)
    try:
        with pytest.raises(errors.DatabaseUnavailable, match="password authentication failed") as caught:
            store.ping()
        assert "wrong-password-9" not in str(caught.value)
    finally:
        store.close()


def test_a_missing_right_is_permanent(server: postgres_server.Postgres) -> None:
    name = new_database(server)
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute(f'alter database "{name}" owner to postgres')
    store = PostgresTradingStore(server.url(name), application="m", retry_seconds=30)
    try:
        with pytest.raises(errors.DatabaseAccessDenied, match="DATABASE_URL"):
            store.migrate()
    finally:
        store.close()


def test_an_unreadable_url_does_not_show_its_password() -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        PostgresTradingStore("postgresql://a:hidden-word@h:port:port/x?y", application="m")
    assert "hidden-word" not in str(caught.value)


def test_work_goes_on_after_the_server_was_restarted(server: postgres_server.Postgres) -> None:
    store = PostgresTradingStore(server.url(new_database(server)), application="m", retry_seconds=30)
    try:
        store.migrate()
        store.run(lambda tx: tx.claim("a", [received(1)]))
        server.stop()
        with pytest.raises(errors.DatabaseUnavailable):
            store.ping()
        restart = threading.Timer(0.5, server.start)
        restart.start()
        assert store.run(lambda tx: tx.claim("a", [received(1), received(2)])) == {"event-2"}
        restart.join()
    finally:
        store.close()
