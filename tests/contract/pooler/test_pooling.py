"""Each row of docs/database-pooling.md: what it says of the pooler, and of a switch, is so."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.driver import Connection, connect, psycopg
from tests.contract.pooler.bench import Bouncer, RunningAgent, Switchboard, agent, until

pytestmark = pytest.mark.contract
DOCUMENT = Path(__file__).parents[3] / "docs" / "database-pooling.md"
TESTED: set[str] = set()


def row[F: Callable[..., None]](title: str) -> Callable[[F], F]:
    """Marks the test of a row."""
    TESTED.add(title)
    return lambda test: test


@pytest.fixture
def running(made: Bouncer, board: Switchboard) -> Iterator[RunningAgent]:
    with agent(board, made) as started:
        board.await_acknowledged(1)
        yield started


@pytest.fixture
def client(made: Bouncer, running: RunningAgent) -> Iterator[Connection]:
    with made.client() as opened:
        yield opened


def value(connection: Connection, query: str, *values: object) -> Any:
    found = connection.execute(query, values or None).fetchone()
    return found[0] if found else None


@contextmanager
def failing(sqlstate: str) -> Iterator[None]:
    with pytest.raises(psycopg.Error) as raised:
        yield
    assert raised.value.sqlstate == sqlstate


@row("Statements and transactions")
def test_statements(made: Bouncer, board: Switchboard, client: Connection) -> None:
    ports = [at.port for at in made.addresses.values()]
    assert value(client, "select inet_server_port() + %s", 0) == ports[0]
    board.switch("selfhosted")
    with client.transaction():
        assert value(client, "select inet_server_port() + %s", 0) == ports[1]
    board.switch("hosted")
    assert value(client, "select inet_server_port() + %s", 0) == ports[0]


@row("Prepared statements of the protocol")
def test_protocol_level_prepared_statements(made: Bouncer, board: Switchboard, running: RunningAgent) -> None:
    with made.client(prepare_threshold=0) as client:
        if made.version < (1, 21):
            value(client, "select %s::int", 1)
            board.switch("selfhosted")
            with failing("26000"):
                value(client, "select %s::int", 1)
            return
        assert value(client, "select %s::int", 1) == 1
        board.switch("selfhosted")
        assert value(client, "select %s::int", 2) == 2


@row("`PREPARE`, `EXECUTE`, `DEALLOCATE` in SQL")
def test_sql_prepare(board: Switchboard, client: Connection) -> None:
    client.execute("prepare one as select 1")
    assert value(client, "execute one") == 1
    board.switch("selfhosted")
    with failing("26000"):
        client.execute("execute one")


@row("`SET` and `set_config` for a session")
def test_session_settings(made: Bouncer, board: Switchboard, client: Connection) -> None:
    client.execute("set statement_timeout = '1234s'")
    with made.client() as somebody_else:
        assert value(somebody_else, "show statement_timeout") == "1234s"
    board.switch("selfhosted")
    assert value(client, "show statement_timeout") == "0"


@row("`TimeZone`, `DateStyle`, `client_encoding`, `standard_conforming_strings`, `application_name`")
def test_settings_that_pgbouncer_tracks(made: Bouncer, board: Switchboard, client: Connection) -> None:
    client.execute("set timezone = 'Asia/Tokyo'")
    with made.client() as somebody_else:
        assert value(somebody_else, "show timezone") != "Asia/Tokyo"
    assert value(client, "show timezone") == "Asia/Tokyo"
    board.switch("selfhosted")
    assert value(client, "show timezone") == "Asia/Tokyo"
    assert value(client, "show application_name") == "test"


@row("`SET LOCAL`")
def test_set_local(board: Switchboard, client: Connection) -> None:
    for side in ("selfhosted", "hosted"):
        with client.transaction():
            client.execute("set local statement_timeout = '77s'")
            assert value(client, "show statement_timeout") == "77s"
        assert value(client, "show statement_timeout") == "0"
        board.switch(side)


@row("`options` at connecting")
def test_startup_options(made: Bouncer, board: Switchboard, running: RunningAgent) -> None:
    with made.client(options="-c statement_timeout=4321s") as client:
        assert value(client, "show statement_timeout") == "0"
        board.switch("selfhosted")
        assert value(client, "show statement_timeout") == "0"


@row("`LISTEN`")
def test_listen(made: Bouncer, board: Switchboard, client: Connection) -> None:
    client.execute("listen news")
    with made.client() as somebody_else:
        somebody_else.execute("select 1")
    with connect(made.addresses["hosted"], "test") as direct:
        direct.execute("notify news, 'missed'")
    assert list(client.notifies(timeout=0.3, stop_after=1)) == []
    board.switch("selfhosted")
    assert value(client, "select count(*) from pg_listening_channels()") == 0


@row("`NOTIFY`")
def test_notify(made: Bouncer, board: Switchboard, client: Connection) -> None:
    for side in ("hosted", "selfhosted"):
        if side != board.route.active:
            board.switch(side)
        with connect(made.addresses[side], "test") as direct:
            direct.execute("listen news")
            client.execute("notify news, 'heard'")
            assert [n.payload for n in direct.notifies(timeout=5, stop_after=1)] == ["heard"]


@row("Advisory locks of a session")
def test_session_locks(made: Bouncer, board: Switchboard, client: Connection) -> None:
    client.execute("select pg_advisory_lock(7)")
    with made.client() as somebody_else:
        assert value(somebody_else, "select pg_try_advisory_lock(7)"), "on the same server connection it is its own"
    with connect(made.addresses["hosted"], "test") as direct:
        assert not value(direct, "select pg_try_advisory_lock(7)")
        board.switch("selfhosted")
        until(lambda: bool(value(direct, "select pg_try_advisory_lock(7)")), "the lock went with its connection")


@row("Advisory locks of a transaction")
def test_transaction_locks(made: Bouncer, board: Switchboard, client: Connection) -> None:
    with client.transaction():
        client.execute("select pg_advisory_xact_lock(8)")
        with connect(made.addresses["hosted"], "test") as direct:
            assert not value(direct, "select pg_try_advisory_lock(8)")
        epoch = board.fence()
        until(lambda: board.record.status["state"] == "open" and epoch > board.record.acknowledged_epoch, "it waits")
    board.await_acknowledged(epoch)
    board.open("selfhosted")
    board.await_serving("selfhosted")


@row("Cursors")
def test_cursors(board: Switchboard, client: Connection) -> None:
    with client.transaction():
        client.execute("declare within cursor for select 1")
        assert value(client, "fetch within") == 1
    client.execute("declare beyond cursor with hold for select 1")
    board.switch("selfhosted")
    with failing("34000"):
        client.execute("fetch beyond")


@row("Temporary tables")
def test_temporary_tables(board: Switchboard, client: Connection) -> None:
    with client.transaction():
        client.execute("create temporary table within (a int) on commit drop")
        client.execute("insert into within values (1)")
        assert value(client, "select a from within") == 1
    client.execute("create temporary table beyond (a int)")
    board.switch("selfhosted")
    with failing("42P01"):
        client.execute("select * from beyond")


@row("`currval`, `lastval`")
def test_currval(made: Bouncer, board: Switchboard, client: Connection) -> None:
    for side in made.addresses.values():
        with connect(side, "test") as direct:
            direct.execute("create sequence public.counting")
    assert value(client, "select nextval('public.counting')") == 1
    board.switch("selfhosted")
    with failing("55000"):
        value(client, "select currval('public.counting')")


@row("`COPY`")
def test_copy(made: Bouncer, board: Switchboard, client: Connection) -> None:
    began, goes_on = threading.Event(), threading.Event()

    def write() -> None:
        with made.client() as writer, writer.cursor().copy("copy public.written (id) from stdin") as copy:
            copy.write("00000000-0000-0000-0000-000000000001\n")
            began.set()
            goes_on.wait(20)
            copy.write("00000000-0000-0000-0000-000000000002\n")

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    assert began.wait(10)
    epoch = board.fence()
    assert board.record.acknowledged_epoch < epoch
    goes_on.set()
    thread.join(10)
    board.await_acknowledged(epoch)
    board.open("selfhosted")
    board.await_serving("selfhosted")
    with connect(made.addresses["hosted"], "test") as direct:
        assert value(direct, "select count(*) from public.written") == 2


@row("Cancelling a statement")
def test_cancelling(made: Bouncer, board: Switchboard, client: Connection) -> None:
    for side in ("selfhosted", "hosted"):
        board.switch(side)
        cancelled = threading.Event()

        def cancel(cancelled: threading.Event = cancelled) -> None:
            while not cancelled.wait(0.3):  # on a full machine the statement may not have begun yet
                client.cancel_safe()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        with failing("57014"):
            client.execute("select pg_sleep(20)")
        cancelled.set()
        canceller.join()
        assert value(client, "select 1") == 1


@row("Logging in")
def test_logging_in(made: Bouncer, board: Switchboard, running: RunningAgent) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            host="127.0.0.1",
            port=made.settings.port,
            dbname="trading",
            user="service",
            password="wrong",
            connect_timeout=10,
        )
    assert made.serves() == "hosted"
    board.switch("selfhosted")
    assert made.serves() == "selfhosted"


TESTED.add("Long transactions")  # test_switch.py


def test_each_row_of_the_document_is_tested() -> None:
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows)) > 10
    assert set(rows) == TESTED
