"""Preflight alone, as `crossover preflight` and `doctor --deep` have it run in a pod: its items, and no comparison."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from cli.beside import items_beside
from contracts.stages import Component, Stage
from cutover.__main__ import main
from cutover.plan import Step
from cutover.reporting import as_json
from cutover.run import CHECKED, validate
from tests.unit.cutover.test_preflight import in_shadow
from tests.unit.cutover.world import QUICK, World


@pytest.fixture
def world() -> World:
    return World(groups=("a",))


def test_it_has_the_items_of_validate_and_compares_nothing(world: World) -> None:
    with world:
        in_shadow(world)
        before = world.route().verdict
        context = world.context(QUICK)
        steps = world.steps(context)
        try:
            outcome = validate(context, steps, CHECKED[:1])
        finally:
            steps.close()
        assert outcome.reached
        assert [record.step for record in outcome.records] == [Step.PREFLIGHT.value]
        assert world.route().verdict == before
        told = as_json(Component.EVENT_BUS, outcome)
        found = items_beside(lambda _: told, [Component.EVENT_BUS])
        assert len(found) == len(outcome.records[0].checks) > 15
        assert all(check.outcome.passed for check in found)
        assert "event_bus: redis: eviction" in {check.name for check in found}


@pytest.mark.parametrize("stage", [[], ["--stage", Stage.SCALE.value]])
def test_it_is_of_a_check(stage: list[str]) -> None:
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, ["--component", "event_bus", "--preflight", *stage])
    assert result.exit_code == 2 and "--check" in result.output
