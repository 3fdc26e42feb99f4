"""Cut off at every step, refused, or failing a check: traffic stays safe and `up` again converges."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from adapters.event_bus.errors import BackendUnavailable
from contracts.stages import Component, Stage
from cutover.errors import StepFailed
from cutover.plan import TRANSITIONS, Step, StepMethod, Transition
from cutover.run import Outcome, Runner
from cutover.timing import Timing
from tests.unit.cutover.world import QUICK, World
from tests.unit.event_bus.test_routed import eventually


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the runner may see it."""


SWITCH = TRANSITIONS[Stage.SHADOW, Stage.SCALE]


def kill_at(
    world: World, wanted: Stage, step: Step, *, after: bool, timing: Timing = QUICK, emergency: bool = False
) -> None:
    """Run a Job that dies like a killed process before or after `step`."""
    context = world.context(timing)
    steps = world.steps(context)
    real: StepMethod = steps.steps[step]

    def dies(transition: Transition) -> str:
        if after:
            real(transition)
        raise Killed

    steps.steps[step] = dies
    with pytest.raises(Killed):
        Runner(context, steps, wanted, emergency=emergency).run()
    steps.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", SWITCH)
@pytest.mark.parametrize(("origin", "goal"), [(Stage.SHADOW, Stage.SCALE), (Stage.SCALE, Stage.SHADOW)])
@pytest.mark.parametrize("then", [Stage.SHADOW, Stage.SCALE])
def test_killed_at_a_step_the_next_run_converges(
    origin: Stage, goal: Stage, step: Step, after: bool, then: Stage
) -> None:
    with World(groups=("a",)) as world:
        assert world.migrate(origin).reached
        world.subscribe()
        world.publish(12)
        kill_at(world, goal, step, after=after)
        outcome = world.migrate(then)
        assert outcome.reached, "\n".join([outcome.message, *world.lines])
        assert world.route().fence is None and world.route().progress is None
        world.publish(12)
        world.assert_ledger()


@pytest.mark.parametrize("step", [s for s in SWITCH if s not in (Step.OPEN, Step.WATCH)])
def test_a_failed_check_before_the_opening_leaves_traffic_where_it_was(step: Step) -> None:
    with World(groups=("a",)) as world:
        assert world.migrate(Stage.SHADOW).reached
        world.subscribe()
        world.publish(8)
        context = world.context()
        steps = world.steps(context)

        def fails(_: Transition) -> str:
            raise StepFailed("made to fail", "none")

        steps.steps[step] = fails
        outcome = Runner(context, steps, Stage.SCALE).run()
        steps.close()
        assert (outcome.verdict, outcome.stage) == ("does not hold", Stage.SHADOW)
        assert world.route().active == "redis" and world.route().fence is None
        assert world.route().history[-1].outcome == "undone"
        world.publish(8)
        world.assert_ledger()


def test_a_failed_watch_switches_back_by_itself() -> None:
    with World(groups=("a",)) as world:
        assert world.migrate(Stage.SHADOW).reached
        world.subscribe()
        world.publish(8)
        context = world.context()
        steps = world.steps(context)
        real = steps.steps[Step.WATCH]
        failed: list[bool] = []

        def fails_once(transition: Transition) -> str:
            if not failed:
                failed.append(True)
                raise StepFailed("made to fail", "none")
            return real(transition)

        steps.steps[Step.WATCH] = fails_once
        outcome = Runner(context, steps, Stage.SCALE).run()
        steps.close()
        assert (outcome.verdict, outcome.stage) == ("does not hold", Stage.SHADOW)
        assert world.route().active == "redis"
        assert world.route().history[-1].outcome == "switched back"
        world.publish(8)
        world.assert_ledger()


def test_an_adapter_that_does_not_acknowledge_aborts_the_switch() -> None:
    with World(groups=("a",)) as world:
        assert world.migrate(Stage.SHADOW).reached
        world.registry.announce(Component.EVENT_BUS, "pod-2.bus", "bus", 1)
        outcome = world.migrate(Stage.SCALE)
        assert outcome.verdict == "does not hold" and "pod-2.bus" in outcome.message
        assert world.route().active == "redis"
        world.publish(8)
        world.subscribe()
        world.assert_ledger()


def test_an_acknowledgement_of_an_undone_fence_never_counts_again() -> None:
    with World() as world:
        assert world.migrate(Stage.SHADOW).reached
        first = world.route().epoch
        kill_at(world, Stage.SCALE, Step.FENCE, after=True)
        fence = world.route().fence
        assert fence is not None and fence.epoch == first + 1
        assert world.migrate(Stage.SHADOW).reached
        assert world.route().epoch == first + 1
        assert world.migrate(Stage.SCALE).reached
        assert world.route().epoch == first + 2


def test_a_second_run_is_refused_and_told_who_holds_the_lock() -> None:
    with World() as world:
        world.lock.acquire(Component.EVENT_BUS, "somebody", 0)
        outcome = world.migrate(Stage.MVP)
        assert not outcome.reached and "somebody" in outcome.message


def test_a_run_that_an_interrupted_update_left_gives_way_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.context.RENEW_SECONDS", 0.05)
    with World(groups=("a",)) as world:
        assert world.migrate(Stage.SHADOW).reached
        world.subscribe()
        world.publish(8)
        older = world.context(replace(QUICK, watch=30.0))
        older.owner = "stack"
        steps = world.steps(older)
        ended: list[Outcome] = []
        run = threading.Thread(target=lambda: ended.append(Runner(older, steps, Stage.SCALE).run()))
        run.start()
        eventually(lambda: world.route().active == "kafka")
        newer = world.context(replace(QUICK, lock_wait=10.0))
        newer.owner = "stack"
        outcome = Runner(newer, world.steps(newer), Stage.SHADOW).run()
        run.join(10)
        steps.close()
        assert [one.verdict for one in ended] == ["interrupted"]
        assert outcome.reached and world.route().active == "redis"
        world.publish(8)
        world.assert_ledger()


def test_a_forged_copy_fails_the_gate() -> None:
    with World() as world:
        assert world.migrate(Stage.SHADOW).reached
        world.publish(8)
        world.servers["kafka"].append_raw("market_data", 0, {"ce_crossoverorigin": b"redis"}, b"forged")
        outcome = world.migrate(Stage.SCALE)
        assert outcome.verdict == "does not hold", "\n".join(world.lines)
        assert world.route().active == "redis"


def test_a_new_backend_that_is_away_could_not_be_checked() -> None:
    with World() as world:
        assert world.migrate(Stage.SHADOW).reached
        world.servers["kafka"].faults.fail_next("facts", BackendUnavailable("down"), times=10_000)
        outcome = world.migrate(Stage.SCALE)
        assert outcome.verdict == "could not be checked"
        assert world.route().active == "redis"


def test_a_seal_set_by_a_run_that_had_lost_its_lock_is_taken_off_by_the_next() -> None:
    with World() as world:
        assert world.migrate(Stage.SHADOW).reached
        # What PREPARE of a run does that was frozen before it, and woke after another had switched.
        world.cutover_log("redis").seal("market_data", 2)
        outcome = world.migrate(Stage.SHADOW)
        assert outcome.reached and outcome.records == []
        world.publish(4)
        assert not world.errors
