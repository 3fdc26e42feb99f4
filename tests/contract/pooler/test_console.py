"""PgBouncer's traps, on the real one: that they are there, and that they are gone round."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from adapters.postgres.driver import Address, Connection, psycopg
from adapters.postgres.errors import Refused, StatementFailed, Unavailable
from adapters.postgres.pooler import AlreadyPaused, Console, PoolState
from adapters.postgres.pooler_config import rendered
from tests.contract.pooler.bench import Bouncer, until
from tests.contract.slow_link import SlowLink

pytestmark = pytest.mark.contract


@pytest.fixture
def console(made: Bouncer) -> Iterator[Console]:
    opened = made.console()
    yield opened
    opened.close()


@contextmanager
def transaction(made: Bouncer) -> Iterator[Connection]:
    """One that is open."""
    with made.client("holder") as client, client.transaction():
        client.execute("select 1")
        yield client


def test_it_tells_what_it_is_and_where_it_points(made: Bouncer, console: Console) -> None:
    assert console.version() == made.version
    assert console.state() is PoolState.ACTIVE
    (entry,) = console.databases()
    at = made.addresses["hosted"]
    assert (entry.name, entry.host, entry.port, entry.database, entry.user, entry.paused) == (
        "trading", at.host, at.port, at.database, at.user, False,
    )  # fmt: skip
    console.run("PAUSE trading")
    assert console.state() is PoolState.ACTIVE
    assert console.databases()[0].paused


def test_it_tells_who_holds_a_server(made: Bouncer, console: Console) -> None:
    with transaction(made) as client:
        pid = client.execute("select pg_backend_pid()").fetchone()
        (server,) = console.active()
        assert (server.pid,) == pid
        assert server.user == made.addresses["hosted"].user
        assert server.client.startswith("holder at 127.0.0.1:")
    assert console.active() == ()


def test_a_pause_ends_when_the_last_transaction_does(made: Bouncer, console: Console) -> None:
    with ThreadPoolExecutor(1) as threads:
        with transaction(made):
            paused = threads.submit(console.pause, 20)
            other = made.console()
            until(lambda: other.state() is PoolState.PAUSED, "it pauses")
            assert not paused.done()
        assert paused.result(10)
        other.close()
    assert console.setting("default_pool_size") == "20"
    console.resume()
    assert console.state() is PoolState.ACTIVE
    console.resume()  # nothing to do


def test_a_pause_that_expires_is_undone_and_leaves_no_waiting_one_behind(made: Bouncer, console: Console) -> None:
    told: list[str] = []
    with transaction(made) as client:
        assert not console.pause(0.2, expired=lambda servers: told.extend(server.client for server in servers))
        assert told[0].startswith("holder")
        assert console.state() is PoolState.ACTIVE
        assert client.execute("select 2").fetchone() == (2,)
        with made.client() as another:
            assert another.execute("select 3").fetchone() == (3,)
    assert console.setting("default_pool_size") == "20"
    assert console.pause(5), "the next one is not disturbed by it"
    console.resume()


def test_a_pause_that_expires_may_stay(made: Bouncer, console: Console) -> None:
    with transaction(made):
        assert not console.pause(0.2, stay=True)
        assert console.state() is PoolState.PAUSED
        assert not console.drained(0.1)
    assert console.drained(5)
    console.resume()


def test_whoever_paused_first_is_told_apart(console: Console) -> None:
    assert console.pause(5)
    with pytest.raises(AlreadyPaused):
        console.pause(5)
    assert console.setting("default_pool_size") == "20"
    console.resume()


def test_a_conffile_can_be_exchanged_and_a_broken_one_changes_nothing(made: Bouncer, console: Console) -> None:
    other = made.folder / "other.ini"
    other.write_text(rendered(made.settings, made.addresses["selfhosted"]))
    console.set_conffile(str(other))
    console.reload()
    assert console.databases()[0].port == made.addresses["selfhosted"].port
    other.write_text("this is no ini\n")
    console.reload()  # it says RELOAD
    assert console.databases()[0].port == made.addresses["selfhosted"].port


def test_errors_are_ours(made: Bouncer, console: Console) -> None:
    with pytest.raises(StatementFailed):
        console.run("SHOW NOTHING")
    assert console.state() is PoolState.ACTIVE
    with pytest.raises(Refused) as refused:
        Console(replace(made.console_address, password="wrong-s3cret")).state()
    assert "s3cret" not in str(refused.value)
    with pytest.raises(Unavailable):
        Console(Address(str(made.folder), 1, "pgbouncer", "console", sslmode="disable")).state()
    made.kill()
    with pytest.raises(Unavailable):
        console.state()
    made.start()
    assert console.state() is PoolState.ACTIVE


def _after_login_was_cut(made: Bouncer, console: Console, pause: Callable[[], object]) -> list[str]:
    """What clients see who ask right after a switch whose pause met a server connection in login."""
    link = SlowLink(made.addresses["hosted"].port, (0.03, 0.03), 1)
    slow = replace(made.addresses["hosted"], port=link.port)
    made.desk.ini = rendered(made.settings, slow)
    console.reload()
    failed: list[str] = []
    clients = [made.client() for _ in range(4)]
    for client in clients:
        client.execute("select 1")
    try:
        with ThreadPoolExecutor(2) as threads:
            busy = [threads.submit(client.execute, "select pg_sleep(0.2)") for client in clients[:2]]
            other = made.console()
            until(lambda: sum(int(row["sv_login"]) for row in other.run("SHOW POOLS")) > 0, "a login is under way")
            other.close()
            pause()
            console.resume()
            for client in clients[2:]:
                try:
                    client.execute("select 1")
                except psycopg.Error as error:
                    failed.append(str(error))
            for one in busy:
                one.result(20)
    finally:
        for client in clients:
            client.close()
        made.kill()
        link.close()
    return failed


def test_a_plain_pause_that_meets_a_login_turns_clients_away(made: Bouncer, console: Console) -> None:
    """The trap itself: should a newer PgBouncer no longer have it, `_no_logins` may go."""
    assert "server login has been failing" in _after_login_was_cut(made, console, lambda: console.run("PAUSE"))[0]


def test_our_pause_lets_logins_end_first(made: Bouncer, console: Console) -> None:
    assert _after_login_was_cut(made, console, lambda: console.pause(5)) == []


def test_no_login_begins_while_a_pause_is_about_to_come(made: Bouncer, console: Console) -> None:
    with ThreadPoolExecutor(1) as threads, transaction(made):
        with console._no_logins():
            another = threads.submit(made.serves)
            until(lambda: any(row["cl_waiting"] != "0" for row in console.run("SHOW POOLS")), "it waits for a server")
            assert len(console.servers()) == 1
        assert another.result(10) == "hosted"


@pytest.mark.parametrize("scope", [" trading", ""], ids=["one database", "all"])
def test_after_a_pause_of_one_database_a_login_makes_clients_fail_and_after_one_of_all_it_does_not(
    made: Bouncer, console: Console, scope: str
) -> None:
    with made.client() as old, ThreadPoolExecutor(1) as threads:
        old.execute("select 1")
        console.run("PAUSE" + scope)
        made.desk.ini = rendered(made.settings, made.addresses["selfhosted"])
        console.reload()
        login = threads.submit(made.client)
        until(lambda: "login attempt" in made.log.rsplit("RELOAD", 1)[1], "somebody logs in")
        time.sleep(0.5)  # long enough for PgBouncer's own round: the trap is what it does then
        console.run("RESUME" + scope)
        try:
            old.execute("select 1")
            failed = False
        except psycopg.Error as error:
            failed = "server login has been failing" in str(error)
        login.result(30).close()
    assert failed == bool(scope)


def test_who_runs_as_its_unix_user_needs_no_password(made: Bouncer) -> None:
    """As the agent does in the pod, from another container with the same user."""
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("there is no psql")
    user = "nobody" if os.geteuid() == 0 else None
    where = ["-h", str(made.folder), "-p", str(made.settings.port), "-U", "pgbouncer", "-w"]
    done = subprocess.run(
        [psql, *where, "-Atc", "SHOW VERSION", "pgbouncer"], capture_output=True, text=True, check=False, user=user,
        cwd="/", env={"PATH": os.environ["PATH"], "HOME": "/"},
    )  # fmt: skip
    assert done.stdout.startswith("PgBouncer "), done.stderr
