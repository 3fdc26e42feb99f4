"""Two switches at once: one of them switches. The lock of one that died is taken over."""

from __future__ import annotations

import threading

from adapters.routes.memory import MemoryLock
from contracts.registry import LEASE_SECONDS
from contracts.stages import Component, Stage
from cutover.plan import Step
from tests.unit.cutover.test_faults import kill_at
from tests.unit.cutover.world import World

BUS = Component.EVENT_BUS


def test_of_two_runs_that_start_together_one_switches_and_the_other_finds_it_done_or_is_refused() -> None:
    with World() as world:
        assert world.migrate(Stage.SHADOW).reached
        world.subscribe()
        world.publish(20)
        outcomes = []
        runs = [threading.Thread(target=lambda: outcomes.append(world.migrate(Stage.SCALE))) for _ in range(2)]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
        switched = [o for o in outcomes if any(r.step == Step.OPEN.value for r in o.records)]
        assert len(switched) == 1 and switched[0].reached
        assert world.route().active == "kafka" and world.route().epoch == 2
        world.publish(20)
        world.assert_ledger()


def test_a_lock_whose_holder_died_in_the_pause_is_taken_over_and_its_fence_undone() -> None:
    now = [0.0]
    with World() as world:
        assert world.migrate(Stage.SHADOW).reached
        world.subscribe()
        world.lock = MemoryLock(lambda: now[0])
        kill_at(world, Stage.SCALE, Step.SEAL, after=True)
        assert world.route().fence is not None
        world.lock.acquire(BUS, "the-dead-one", 0)
        now[0] += LEASE_SECONDS + 1
        assert world.migrate(Stage.SCALE).reached
        assert "an earlier switch was cut off before it opened: undoing it" in world.lines
        world.publish(20)
        world.assert_ledger()
