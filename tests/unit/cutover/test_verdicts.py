"""What a comparison found is kept in the route, by runs and by checks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from contracts.stages import Component, Stage
from cutover.context import Context, StepFailed
from cutover.plan import Step, Transition, path
from cutover.run import Outcome, Runner, validate
from cutover.verdicts import sparing
from tests.unit.cutover.world import World
from validation.result import Verdict
from validation.verdicts import KeptVerdict

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
(SWITCH,) = path(Stage.SHADOW, Stage.SCALE)


def at(world: World, now: datetime) -> Context:
    context = world.context()
    context.clock = lambda: now
    return context


def checked(world: World, now: datetime = NOW) -> Outcome:
    context = at(world, now)
    steps = world.steps(context)
    try:
        return validate(context, steps)
    finally:
        steps.close()


def kept(world: World) -> KeptVerdict:
    found = KeptVerdict.read(world.route().verdict)
    assert found is not None
    return found


def test_a_switch_and_a_check_keep_what_they_found() -> None:
    with World() as world:
        world.migrate(Stage.MVP)
        assert world.route().verdict is None
        world.publish(8)
        assert world.migrate(Stage.SCALE).reached
        switch = kept(world)
        assert (switch.outcome, switch.ahead_of, switch.active) == (Verdict.HOLDS, SWITCH.name, "redis")
        assert checked(world).verdict == "holds"
        check = kept(world)
        assert (check.outcome, check.ahead_of, check.at, check.active) == (Verdict.HOLDS, "", NOW, "kafka")
        assert "events equal" in check.detail and "8 events equal" in switch.detail


@pytest.mark.parametrize("spoilt", [False, True])
def test_a_comparison_that_finds_a_difference_is_kept_as_that(spoilt: bool) -> None:
    with World() as world:
        world.migrate(Stage.SHADOW)
        context = at(world, NOW)
        steps = world.steps(context)

        def differs(_: Transition) -> str:
            raise StepFailed("the logs differ", "look")

        if spoilt:
            steps.steps[Step.COMPARE] = differs
        try:
            assert Runner(context, steps, Stage.SCALE).run().reached is not spoilt
        finally:
            steps.close()
        assert kept(world).outcome is (Verdict.DOES_NOT_HOLD if spoilt else Verdict.HOLDS)
        assert ("the logs differ" in kept(world).detail) is spoilt


def test_a_check_during_a_switch_writes_nothing_into_its_route() -> None:
    with World() as world:
        world.migrate(Stage.SHADOW)
        before = world.store.read(Component.EVENT_BUS)
        world.lock.acquire(Component.EVENT_BUS, "a switch", 0.0)
        assert checked(world).verdict == "holds"
        assert world.store.read(Component.EVENT_BUS) == before
        assert "the verdict was not kept: a switch of event_bus is already under way" in "\n".join(world.lines)
        world.lock.release(Component.EVENT_BUS, "a switch")
        checked(world)
        assert kept(world).at == NOW


def spared(world: World, verdict: KeptVerdict | str, now: datetime = NOW) -> bool:
    """Whether a switch that is asked for `now` need not compare anew, with that verdict in the route."""
    context = at(world, now)
    route = context.read()
    assert route is not None
    text = verdict if isinstance(verdict, str) else verdict.to_json()
    context.write(route.model_copy(update={"verdict": text}))
    return sparing(context, SWITCH) is not None


def test_only_a_switch_that_was_cut_off_goes_on_by_what_it_had_found() -> None:
    with World() as world:
        world.migrate(Stage.MVP)
        world.migrate(Stage.SHADOW)
        of_join = kept(world)
        assert not spared(world, of_join)
        cut_off = of_join.model_copy(
            update={"ahead_of": SWITCH.name, "after": world.route().last_ended, "at": NOW, "active": "redis"}
        )
        day, minute = timedelta(hours=24), timedelta(minutes=1)
        assert spared(world, cut_off)
        assert spared(world, cut_off, NOW + day)
        assert not spared(world, cut_off, NOW + day + minute)
        assert not spared(world, cut_off.model_copy(update={"outcome": Verdict.DOES_NOT_HOLD}))
        assert not spared(world, "of a version to come")
        spared(world, cut_off)
        world.migrate(Stage.SCALE)
        world.migrate(Stage.SHADOW)  # which ended: the next switch is another
        assert not spared(world, cut_off)
