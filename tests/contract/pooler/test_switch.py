"""A switch through a real PgBouncer between two real servers, as clients see it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import REGISTRY

from adapters.postgres.driver import Connection
from tests.contract.pooler.bench import Bouncer, RunningAgent, Switchboard, agent, until
from tests.contract.pooler.load import Load, rows

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("prepared", [False, True], ids=["plain", "prepared"])
def test_forward_and_back_under_load_fail_no_statement(made: Bouncer, board: Switchboard, prepared: bool) -> None:
    if prepared and made.version < (1, 21):
        pytest.skip(f"PgBouncer {made.version} has no prepared statements in transaction mode")
    with agent(board, made), Load(made, prepared=prepared) as load:
        placed: dict[str, list[str]] = {"hosted": [], "selfhosted": []}
        for source, target in (("hosted", "selfhosted"), ("selfhosted", "hosted")):
            board.await_acknowledged(board.route.epoch)
            board.await_acknowledged(board.fence())
            held = rows(made.addresses[source])
            load.seconds.clear()
            assert REGISTRY.get_sample_value("crossover_pooler_paused") == 1
            board.open(target)
            board.await_serving(target)
            assert REGISTRY.get_sample_value("crossover_pooler_paused") == 0
            assert 0 < (REGISTRY.get_sample_value("crossover_pooler_last_pause_seconds") or 0) < 5
            load.go_on(200)
            print(f"{source} -> {target}: the longest statement took {load.stall * 1000:.0f} ms")
            assert load.failed == []
            assert rows(made.addresses[source]) == held, "nothing arrives at the old side after the acknowledgement"
            placed[source] += held
        load.stop()
        assert load.failed == []
        everywhere = rows(made.addresses["hosted"]) + rows(made.addresses["selfhosted"])
        assert sorted(everywhere) == sorted(load.written)
        assert made.serves() == "hosted"
        assert len(rows(made.addresses["selfhosted"])) >= 200


def test_logins_during_the_pause_wait_and_then_succeed(made: Bouncer, board: Switchboard) -> None:
    with agent(board, made), ThreadPoolExecutor(4) as threads:
        board.await_acknowledged(1)
        board.await_acknowledged(board.fence())
        waiting = [threads.submit(made.serves) for _ in range(4)]
        console = made.console()
        until(lambda: len(console.run("SHOW CLIENTS")) > len(waiting), "the logins arrived")
        assert not any(one.done() for one in waiting)
        board.open("selfhosted")
        assert [one.result(20) for one in waiting] == ["selfhosted"] * 4
        console.close()


def _hold(made: Bouncer, release: threading.Event) -> threading.Thread:
    """A transaction that stays open, idle, until `release`."""
    entered = threading.Event()

    def run() -> None:
        with made.client("slow-report") as client, client.transaction():
            client.execute("select 'a secret' as held, 1")
            entered.set()
            release.wait(30)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert entered.wait(10)
    return thread


def test_a_long_transaction_is_named_and_everything_goes_on_at_the_old_side(made: Bouncer, board: Switchboard) -> None:
    release = threading.Event()
    with agent(board, made, pause_seconds=1.0), Load(made) as load:
        board.await_acknowledged(1)
        holder = _hold(made, release)
        epoch = board.fence()
        until(lambda: "slow-report" in board.record.status["trouble"], "the transaction is named")
        told = board.record.status["trouble"]
        assert board.record.acknowledged_epoch < epoch
        for part in ("pid ", "idle in transaction", "user app_at_hosted", "select '...' as held, 1"):
            assert part in told
        assert "secret" not in told
        load.go_on(2 * load.clients)  # those that stood still are answered
        load.seconds.clear()
        load.go_on()
        assert load.stall < 0.9, "the same fence makes nobody stand still again"
        board.undo()
        release.set()
        holder.join(10)
        board.switch("selfhosted")
        assert board.record.status["trouble"] == ""
        load.go_on()
        load.stop()
        assert load.failed == []
        assert len(rows(made.addresses["hosted"]) + rows(made.addresses["selfhosted"])) == len(load.written)


def test_a_fence_that_is_undone_while_transactions_are_awaited_lets_everything_go_on(
    made: Bouncer, board: Switchboard
) -> None:
    release = threading.Event()
    with agent(board, made, pause_seconds=30), Load(made) as load:
        board.await_acknowledged(1)
        holder = _hold(made, release)
        board.fence()
        console = made.console()
        until(lambda: console.state() == "paused", "it pauses")
        board.undo()
        board.await_serving("hosted")
        load.go_on()
        release.set()
        holder.join(10)
        board.switch("selfhosted")
        load.stop()
        assert load.failed == []
        console.close()


@pytest.mark.parametrize("scope", ["", " trading"], ids=["all", "one database"])
def test_an_operators_pause_is_never_resumed_and_never_acknowledged(
    made: Bouncer, board: Switchboard, scope: str
) -> None:
    operator = made.console()
    with agent(board, made) as first:
        board.await_acknowledged(1)
        operator.run("PAUSE" + scope)
        epoch = board.fence()
        until(lambda: "paused by somebody else" in board.record.status["trouble"], "it is reported")
        first.kill()
    with agent(board, made), ThreadPoolExecutor(1) as threads:
        until(lambda: "paused by somebody else" in board.record.status["trouble"], "it is reported again")
        board.undo()
        until(lambda: board.record.status["state"] == "paused by somebody else", "it stays")
        assert board.record.acknowledged_epoch < epoch
        waiting = threads.submit(made.serves)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        operator.run("RESUME" + scope)
        assert waiting.result(20) == "hosted"
        board.switch("selfhosted")
    operator.close()


@pytest.mark.parametrize("how", ["undo", "open"])
def test_an_agent_that_is_killed_at_any_command_leaves_what_the_next_one_ends(
    made: Bouncer, board: Switchboard, how: str
) -> None:
    """Each command that changes something is the last one once, and once the last before it is sent."""
    sides = ["hosted", "selfhosted"]
    with Load(made, clients=4) as load:
        for fatal in range(1, 7):
            for after in (False, True):
                source = board.route.active
                target = sides[1 - sides.index(source)] if how == "open" else source
                running = RunningAgent(board, made, fatal=fatal, after=after)
                board.await_acknowledged(board.route.epoch)
                epoch = board.fence()
                until(lambda: running.dead or board.record.acknowledged_epoch >= epoch, "dead or acknowledged")  # noqa: B023
                if board.record.acknowledged_epoch < epoch:
                    _restart_and_acknowledge(made, board, epoch)
                held = rows(made.addresses[source])
                board.open(target)
                until(lambda: running.dead or board.record.status["side"] == target, "dead or moved")  # noqa: B023
                running.kill()
                assert len(running.console.done) == fatal, "it died where it was to"
                with agent(board, made):
                    board.await_serving(target)
                    load.go_on(20)
                    assert how == "undo" or rows(made.addresses[source]) == held
        load.stop()
    assert load.failed == []
    assert sorted(rows(made.addresses["hosted"]) + rows(made.addresses["selfhosted"])) == sorted(load.written)


def _restart_and_acknowledge(made: Bouncer, board: Switchboard, epoch: int) -> None:
    with agent(board, made):
        board.await_acknowledged(epoch)


def test_a_prepared_statement_goes_on_at_the_other_side(made: Bouncer, board: Switchboard) -> None:
    if made.version < (1, 21):
        pytest.skip(f"PgBouncer {made.version} has no prepared statements in transaction mode")

    def prepared(client: Connection) -> int:
        row = client.execute("select inet_server_port() + %s", (0,), prepare=True).fetchone()
        assert row is not None
        return int(row[0])

    with agent(board, made), made.client(prepare_threshold=0) as client:
        assert prepared(client) == made.addresses["hosted"].port
        board.switch("selfhosted")
        assert prepared(client) == made.addresses["selfhosted"].port
