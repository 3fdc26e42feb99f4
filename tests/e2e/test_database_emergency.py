"""Our own Postgres dies on the cluster while it serves: one command brings clients back to the hosted one, and what
only ours had is told. With rollback_loss none that is nothing that was acknowledged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from components.selfhosted_postgres import NAME
from contracts.stages import Component, Stage
from tests.e2e.chaos import gone
from tests.e2e.journey import Stack, seconds_of_emergency
from validation.bank.judging import WHOLE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

RATE = 100.0
AROUND = 5.0
MOST_SECONDS = 10.0
"""What is promised for the data plane: the steps of the run, from its survey to the write that lets clients go on."""
LOSS = "crossover:database.rollback_loss"


@pytest.fixture
def database(stack: Stack) -> Iterator[Stack]:
    """The stack, seen from the database, at scale with commits that wait for the hosted side."""
    found = stack.of(Component.DATABASE)
    found.bring_to(Stage.SHADOW)
    with found.bank(1.0):  # makes its tables where both sides follow them once the update has added them
        pass
    found.pulumi.set(LOSS, "none")
    found.bring_to(Stage.SCALE)
    yield found
    found.end_emergency()
    found.pulumi.set(LOSS, "bounded")


def test_our_server_dies_and_nothing_that_was_acknowledged_is_lost(database: Stack) -> None:
    assert database.route()[0].tied_since is not None
    with database.bank(RATE) as bank:
        bank.hold(AROUND, "transfers on our own side")
        with gone(database, NAME):
            said = database.crossover("rollback", "database", "--emergency")
            print(said)
            route, _ = database.route()
            assert (route.stage, route.active, route.fence, route.mirror) == (Stage.SHADOW, "hosted", None, None)
            assert seconds_of_emergency(said) < MOST_SECONDS
            bank.hold(AROUND, "transfers on the hosted side, without ours")
        told = database.crossover("status", status=1)
        assert "out of step" in told and "nothing that selfhosted acknowledged is missing" in " ".join(told.split()), (
            told
        )
        database.crossover("rollback", "database")
        route, _ = database.route()
        assert route.stranded is None and route.mirror is not None
        bank.hold(AROUND, "transfers on the hosted side, ours in step again")
        bank.stop()
        figures = bank.judge({}, RATE * 0.5)[WHOLE].figures
    print(figures)
    assert figures["acknowledged"] > 2 * AROUND * RATE * 0.5
    assert not any(figures[name] for name in ("lost", "doubled", "changed"))
