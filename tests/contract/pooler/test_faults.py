"""What may go wrong around a switch: PgBouncer dies or hangs, a password is wrong, nobody opens, Kubernetes is away."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from adapters.postgres.driver import psycopg, sql
from adapters.routes.base import RouteUnavailable, Versioned
from contracts.routes import Route, Stranded
from contracts.stages import Component
from cutover.pooler import gate
from cutover.pooler.sides import login_trouble
from tests.contract.pooler.bench import Bouncer, Servers, Switchboard, agent, until
from tests.contract.pooler.load import Load, rows

pytestmark = pytest.mark.contract


@contextmanager
def wrong_password(servers: Servers, side: str) -> Iterator[None]:
    """The pooler's role cannot log in at `side` meanwhile."""
    servers.set_password(side, "wrong on purpose")
    try:
        yield
    finally:
        servers.set_password(side, servers.password(side))


def test_a_fence_towards_a_side_that_lets_nobody_in_makes_nobody_stand_still(
    servers: Servers, made: Bouncer, board: Switchboard
) -> None:
    with agent(board, made), Load(made) as load:
        board.await_acknowledged(1)
        with wrong_password(servers, "selfhosted"):
            load.seconds.clear()
            epoch = board.fence()
            until(lambda: "password authentication failed" in board.record.status["trouble"], "it is told")
            load.go_on()
            assert load.stall < 1.0
            assert board.record.acknowledged_epoch < epoch
            board.undo()
        board.switch("selfhosted")
        load.stop()
        assert load.failed == []


def test_where_the_new_side_stops_letting_anybody_in_clients_wait_until_the_switch_is_undone(
    servers: Servers, made: Bouncer, board: Switchboard
) -> None:
    with agent(board, made), Load(made) as load:
        board.await_acknowledged(1)
        board.await_acknowledged(board.fence())
        with wrong_password(servers, "selfhosted"):
            board.open("selfhosted")
            until(lambda: "stays paused: selfhosted" in board.record.status["trouble"], "it is told")
            assert servers.password("selfhosted") not in board.record.status["trouble"]
            assert (board.record.status["state"], board.record.status["side"]) == ("held", "")
            board.await_acknowledged(board.fence())
            board.open("hosted")
            board.await_serving("hosted")
            assert board.record.status["trouble"] == ""
            load.go_on()
        load.stop()
        assert load.failed == []
        assert rows(made.addresses["selfhosted"]) == []
        assert len(rows(made.addresses["hosted"])) == len(load.written)


def test_it_goes_to_the_new_side_as_soon_as_that_lets_it_in(
    servers: Servers, made: Bouncer, board: Switchboard
) -> None:
    with agent(board, made), Load(made, clients=2) as load:
        board.await_acknowledged(1)
        board.await_acknowledged(board.fence())
        with wrong_password(servers, "selfhosted"):
            board.open("selfhosted")
            until(lambda: "stays paused: selfhosted" in board.record.status["trouble"], "it is told")
        board.await_serving("selfhosted")
        load.go_on()
        load.stop()
        assert load.failed == []


def test_a_pgbouncer_that_dies_in_the_pause_writes_nothing_to_the_side_that_is_left(
    made: Bouncer, board: Switchboard
) -> None:
    with agent(board, made) as running, ThreadPoolExecutor(8) as threads:
        board.await_acknowledged(1)
        board.await_acknowledged(board.fence())
        held = made.desk.ini
        made.kill()
        made.start()
        assert made.desk.ini == held, "what it started with reaches no server"
        waiting = [threads.submit(made.serves) for _ in range(8)]
        until(lambda: board.record.status["state"] == "held" and len(running.console.done) > 4, "it pauses again")
        board.open("selfhosted")
        board.await_serving("selfhosted")
        assert {one.result(20) for one in waiting} == {"selfhosted"}


def test_an_agent_that_hangs_tells_in_what(made: Bouncer, board: Switchboard) -> None:
    with agent(board, made):
        board.await_acknowledged(1)
        made.freeze()
        try:
            until(lambda: "its agent is at 'look'" in board.record.status["trouble"], "it is told")
        finally:
            made.thaw()
        until(lambda: board.record.status["trouble"] == "", "it is over")
        board.switch("selfhosted")


def test_a_pgbouncer_that_dies_while_no_agent_runs_comes_up_where_it_was(made: Bouncer, board: Switchboard) -> None:
    with agent(board, made):
        board.switch("selfhosted")
    made.kill()
    made.start()
    assert made.serves() == "selfhosted"
    with agent(board, made):
        board.await_serving("selfhosted")


def test_a_pause_whose_pgbouncer_died_is_forgotten(made: Bouncer, board: Switchboard) -> None:
    with agent(board, made):
        board.await_acknowledged(1)
        board.await_acknowledged(board.fence())
    made.kill()
    made.start()
    board.undo()
    operator = made.console()
    with agent(board, made):
        board.await_serving("hosted")
        assert not made.desk.memory.paused
        operator.run("PAUSE")
        until(
            lambda: board.record.status["state"] == "paused by somebody else", "an operator's pause is no longer ours"
        )
        operator.run("RESUME")
    operator.close()


def test_somebody_who_resumes_in_the_midst_of_a_switch_reaches_no_server(made: Bouncer, board: Switchboard) -> None:
    operator = made.console()
    with agent(board, made) as running, Load(made, clients=2) as load:
        board.await_acknowledged(1)
        board.await_acknowledged(board.fence())
        held = rows(made.addresses["hosted"])
        pauses = running.console.done.count("PAUSE")
        operator.run("RESUME")
        until(lambda: running.console.done.count("PAUSE") > pauses, "it pauses again")
        board.open("selfhosted")
        board.await_serving("selfhosted")
        assert rows(made.addresses["hosted"]) == held
        load.stop()
    operator.close()


def test_a_pgbouncer_that_hangs_is_told_of_and_acknowledges_nothing(made: Bouncer, board: Switchboard) -> None:
    with agent(board, made):
        board.await_acknowledged(1)
        made.freeze()
        try:
            epoch = board.fence()
            until(lambda: "does not answer" in board.record.status["trouble"], "it is told")
            assert board.record.acknowledged_epoch < epoch
        finally:
            made.thaw()
        board.await_acknowledged(epoch)
        board.open("selfhosted")
        board.await_serving("selfhosted")


def test_a_fence_that_nobody_opens_is_obeyed_no_longer_than_that(
    made: Bouncer, board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "FENCE_HOLD_SECONDS", 1.0)
    with agent(board, made), Load(made) as load:
        board.await_acknowledged(1)
        epoch = board.fence()
        board.await_acknowledged(epoch)
        until(lambda: "nobody opened or undid" in board.record.status["trouble"], "it gives up")
        load.go_on()
        assert board.record.acknowledged_epoch < epoch, "what was told is taken back"
        assert made.serves() == "hosted"
        load.stop()
        assert load.failed == []
    with agent(board, made):
        until(lambda: board.record.status["side"] == "hosted", "an agent that starts obeys that fence no more")
        board.undo()
        board.switch("selfhosted")


def test_where_the_route_cannot_be_read_an_acknowledged_fence_is_held_on(
    made: Bouncer, board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch tells nothing and a read fails, as where the API server is out of reach for this pod alone."""
    monkeypatch.setattr(gate, "FENCE_HOLD_SECONDS", 0.5)
    away = threading.Event()
    read, watch = board.store.read, board.store.watch

    def read_or_fail(component: Component) -> Versioned:
        if away.is_set() and threading.current_thread().name == "agent":
            raise RouteUnavailable("the API server does not answer")
        return read(component)

    def watch_or_not(component: Component, changed: Callable[[Route], None], stopped: Callable[[], bool]) -> None:
        watch(component, lambda route: None if away.is_set() else changed(route), stopped)

    monkeypatch.setattr(board.store, "read", read_or_fail)
    monkeypatch.setattr(board.store, "watch", watch_or_not)
    with agent(board, made), Load(made) as load:
        board.await_acknowledged(1)
        board.await_acknowledged(board.fence())
        away.set()
        board.open("selfhosted")
        until(lambda: "cannot be read" in board.record.status["trouble"], "it holds on")
        held = rows(made.addresses["hosted"])
        away.clear()
        board.await_serving("selfhosted")
        load.go_on()
        load.stop()
        assert load.failed == []
        assert rows(made.addresses["hosted"]) == held


@contextmanager
def stuck(made: Bouncer, board: Switchboard) -> Iterator[tuple[Future[None], threading.Event]]:
    """A transaction that does not end until it is released: what becomes of it, and the release."""
    release, entered = threading.Event(), threading.Event()

    def hold() -> None:
        with made.client() as client, client.transaction():
            client.execute("select 1")
            entered.set()
            release.wait(30)

    with ThreadPoolExecutor(1) as threads:
        board.await_acknowledged(1)
        held = threads.submit(hold)
        assert entered.wait(10)
        yield held, release


def test_an_emergency_does_not_wait_for_a_transaction_that_does_not_end(made: Bouncer, board: Switchboard) -> None:
    with agent(board, made, pause_seconds=0.3), stuck(made, board) as (held, release):
        board.await_acknowledged(board.fence(emergency=True))
        board.open("selfhosted")
        board.await_serving("selfhosted")
        assert made.serves() == "selfhosted"
        release.set()
        with pytest.raises(psycopg.Error):  # the server may hang for ever, so its client was let go
            held.result(20)


def test_one_that_hears_of_an_emergency_after_traffic_fled_waits_for_nobody_either(
    made: Bouncer, board: Switchboard
) -> None:
    with agent(board, made, pause_seconds=0.3), stuck(made, board) as (held, release):
        tail = Stranded(backend="hosted", epoch=1, copied={"lsn": "0/0"})
        board.write(active="selfhosted", epoch=2, stranded={"wal": tail})
        board.await_serving("selfhosted")
        release.set()
        with pytest.raises(psycopg.Error):
            held.result(20)


def test_it_goes_back_from_a_side_that_died(servers: Servers, made: Bouncer, board: Switchboard) -> None:
    with agent(board, made), made.client() as idle:
        board.switch("selfhosted")
        idle.execute("select 1")
        servers.own.stop(3)
        try:
            board.await_acknowledged(board.fence())
            board.open("hosted")
            board.await_serving("hosted")
            assert made.serves() == "hosted"
            assert idle.execute("select inet_server_port()").fetchone() == (made.addresses["hosted"].port,)
            epoch = board.fence()
            until(lambda: "cannot be served from" in board.record.status["trouble"], "the way there is refused")
            assert board.record.acknowledged_epoch < epoch
            board.undo()
        finally:
            servers.own.start()
        board.switch("selfhosted")
        assert made.serves() == "selfhosted"


def test_a_side_may_ask_for_tls_with_an_authority_of_its_own(
    servers: Servers, made: Bouncer, board: Switchboard
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl")
    folder = servers.own.folder
    certificate, key = folder / "server.crt", folder / "server.key"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    authority = made.folder / "authority.crt"
    authority.write_bytes(certificate.read_bytes())
    key.chmod(0o600)
    for path in (certificate, key):
        shutil.chown(path, folder.stat().st_uid, folder.stat().st_gid)
    with servers.admin("selfhosted") as admin:
        for name, value in (("ssl_cert_file", certificate), ("ssl_key_file", key), ("ssl", "on")):
            admin.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(str(value))))
        admin.execute("select pg_reload_conf()")
    secured = replace(made.addresses["selfhosted"], sslmode="verify-full", sslrootcert=str(authority))
    made.addresses["selfhosted"] = secured
    until(lambda: login_trouble(secured) == "", "it takes TLS")
    query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    with agent(board, made), Load(made, clients=4) as load, made.client() as client:
        assert client.execute(query).fetchone() == (False,)
        board.switch("selfhosted")
        assert client.execute(query).fetchone() == (True,)
        load.go_on()
        board.switch("hosted")
        assert client.execute(query).fetchone() == (False,)
        load.stop()
        assert load.failed == []
