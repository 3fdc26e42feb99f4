"""The database on the cluster, moved by the plain `pulumi` CLI while a bank transfers and the engine trades: there and
back, stopped by a gate, killed at each step of the pause, with a server killed in it. Each run is bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.stages import Component, Stage
from cutover.tables import TABLES, Step
from local.demo.bank import Bank
from local.demo.moving import Mover
from tests.e2e.chaos import Run, remove_runs, settled
from tests.e2e.journey import Stack, clean_bank

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

DATABASE = Component.DATABASE
SWITCH = TABLES[DATABASE].rows[Stage.SHADOW, Stage.SCALE]
PAUSE = SWITCH[SWITCH.index(Step.FENCE) :]
RATE = 100.0
AROUND = 5.0
STALL_MS = 3000.0
"""On two cores, which bank, engine, servers and cluster share."""


@pytest.fixture(scope="module")
def database(stack: Stack) -> Stack:
    """The stack, seen from the database, at mvp."""
    found = stack.of(DATABASE)
    if found.route()[0].stage is not Stage.MVP:
        found.bring_to(Stage.MVP)
    return found


@pytest.fixture(autouse=True)
def no_run_stays(stack: Stack) -> Iterator[None]:
    """The runs beside Pulumi are removed in the end; not before, for the next one sees by their pods that they died."""
    yield
    remove_runs(stack)


def converged(database: Stack, bank: Bank, stage: Stage) -> None:
    """Nothing is under way at `stage`, and the books hold, of transfers on the side that serves too."""
    assert settled(database.route()[0], stage)
    bank.hold(AROUND, "transfers on the side that serves")
    clean_bank(bank)


def test_there_and_back_while_a_bank_transfers(database: Stack) -> None:
    mover = Mover(DATABASE, database.pulumi, database.kubectl, AROUND)
    with database.bank(RATE) as bank:
        mover.move(bank.hold, Stage.SHADOW)
        assert [(switch.origin, switch.goal) for switch in mover.switches] == [("mvp", "scale"), ("scale", "shadow")]
        reports = clean_bank(bank, mover.windows)
    for name in mover.windows:
        assert reports[name].figures["stall_ms_max"] < STALL_MS, name
    route, _ = database.route()
    assert (route.stage, route.active, route.fence) == (Stage.SHADOW, "hosted", None)


def test_a_failed_gate_leaves_clients_where_they_were_and_an_update_tries_again(database: Stack) -> None:
    database.bring_to(Stage.SHADOW)
    with database.bank(RATE) as bank:
        database.ask_for(Stage.SCALE)
        with database.adapter_that_never_answers("stuck-pod.pooler"):
            said = database.failing_up()
        assert "VERDICT" in said and "stuck-pod.pooler" in said, said
        route, _ = database.route()
        assert (route.stage, route.active, route.fence) == (Stage.SHADOW, "hosted", None)
        database.pulumi.up()  # the same config: what failed is tried again
        converged(database, bank, Stage.SCALE)


def test_killed_before_each_step_of_the_pause_an_update_converges(database: Stack) -> None:
    database.bring_to(Stage.SHADOW)
    with database.bank(RATE) as bank:
        for step in PAUSE:
            Run(database, Stage.SCALE, "die", step).await_death()
        database.bring_to(Stage.SCALE)
        converged(database, bank, Stage.SCALE)


def test_the_other_server_killed_in_the_pause_an_update_converges(database: Stack) -> None:
    database.bring_to(Stage.SHADOW)
    with database.bank(RATE) as bank:
        run = Run(database, Stage.SCALE, "hold", Step.DRAIN)
        run.await_there()
        database.kubectl.run("delete", "pod", "postgres-0", "--grace-period=0", "--force")  # as SIGKILL
        run.await_end()
        database.bring_to(Stage.SCALE)
        converged(database, bank, Stage.SCALE)
