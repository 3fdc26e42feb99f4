"""The database on the cluster, moved by the plain `pulumi` CLI while a bank transfers and the engine trades: killed in
the pause, and with a server killed in it. Each run is bounded. There and back: test_whole_journey.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts import names
from contracts.stages import Component, Stage
from cutover.tables import Step
from local.demo.bank import Bank
from tests.e2e.chaos import Run, await_true, remove_runs, settled
from tests.e2e.journey import Stack, clean_client

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

DATABASE = Component.DATABASE
KILLED = (Step.DRAIN, Step.OPEN)
RATE = 100.0
AROUND = 5.0
METRICS = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{names.METRICS_PORT}').read().decode())"


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
    clean_client(bank)


def test_killed_in_the_pause_and_with_a_server_gone_an_update_converges(database: Stack) -> None:
    """Some steps of the pause; each step of every transition is a place to die in tests/contract."""
    database.bring_to(Stage.SHADOW)
    with database.bank(RATE) as bank:
        for step in KILLED:
            Run(database, Stage.SCALE, "die", step).await_death()
        run = Run(database, Stage.SCALE, "hold", Step.DRAIN)
        run.await_there()
        database.kubectl.run("delete", "pod", "postgres-0", "--grace-period=0", "--force")  # as SIGKILL
        run.await_end()
        database.kubectl.run("rollout", "status", "statefulset/postgres", "--timeout=120s", timeout=130)
        await_true(lambda: _read(database), 60, "the carrier reads from the hosted side again")
        database.bring_to(Stage.SCALE)
        converged(database, bank, Stage.SCALE)


def _read(database: Stack) -> bool:
    """Whether the carrier follows the hosted side, as its metrics tell."""
    said = database.kubectl.run("exec", f"deployment/{names.CARRIER_NAME}", "--", "python", "-c", METRICS, check=False)
    return 'crossover_database_carrier_up{source="hosted"} 1.0' in said
