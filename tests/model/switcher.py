"""Runs of the cutover in the model: the product's runner and steps, over a clock that the model moves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from adapters.routes.base import LockHeld, Versioned
from adapters.routes.memory import MemoryAccess, MemoryLock, MemoryRouteStore
from contracts.routes import Route
from contracts.stages import Component, Stage
from cutover.context import Context
from cutover.event_bus import EventBusSteps
from cutover.plan import Step, StepMethod, Transition
from cutover.run import Outcome, Runner
from cutover.timing import Timing
from tests.model.ledger import demand
from tests.model.wire import TOPIC, Backend

if TYPE_CHECKING:
    from tests.model.world import World

TIMING = Timing(
    fence=2.0,
    pause=10.0,
    drain=2.0,
    backfill=2.0,
    watch=0.0,
    watch_pace=0.5,
    answer=1.0,
    finish_groups=3.0,
    lock_wait=0.0,
)
REST_SECONDS = 0.5


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the product may see it."""


class RecordingStore(MemoryRouteStore):
    """Keeps all versions of the route, and looks at each as it is written."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.versions: list[Route] = []
        self._fences: set[int] = set()

    def read(self, component: Component) -> Versioned:
        self._world.between("read")
        return super().read(component)

    def write(self, route: Route, version: str) -> Versioned:
        self._world.between("write")
        before = self.versions[-1] if self.versions else None
        written = super().write(route, version)
        self.versions.append(route)
        self._epochs_only_grow(before, route)
        self._world.route_written(before, route)
        return written

    def _epochs_only_grow(self, before: Route | None, route: Route) -> None:
        if route.fence is not None and (before is None or before.fence != route.fence):
            demand(route.fence.epoch not in self._fences, "a fence's epoch is never used again", route.fence)
            demand(route.fence.epoch > route.epoch, "a fence announces a newer epoch", route.fence)
            self._fences.add(route.fence.epoch)
        if before is None:
            return
        demand(route.epoch >= before.epoch, "epochs only grow", (before.epoch, route.epoch))
        if before.fence is not None and route.fence is None:
            demand(route.epoch >= before.fence.epoch, "epochs grow with each fence", (before.epoch, route.epoch))
        if before.active != route.active:
            demand(before.fence is not None, "who serves changes behind a fence only")


class MortalLock(MemoryLock):
    """A killed run gives nothing back."""

    def __init__(self, world: World) -> None:
        super().__init__(world.now)
        self._world = world

    def release(self, component: Component, holder: str) -> None:
        if not self._world.killing:
            super().release(component, holder)


class ModelContext(Context):
    """Time passes in it as the model says, and everybody moves meanwhile."""

    world: World

    def now(self) -> float:
        return self.world.now()

    def rest(self, seconds: float) -> None:
        self.world.between("rest")
        self.world.seconds += max(seconds, REST_SECONDS)
        self.world.everyone_moves()
        self._renew()

    @contextlib.contextmanager
    def lock_kept(self) -> Iterator[None]:
        yield

    def _renew(self) -> None:
        try:
            self.lock.renew(self.component, self.holder)
        except LockHeld:
            self.lost_lock.set()


def run(world: World, wanted: Stage, name: str, *, emergency: bool = False) -> Outcome:
    """One run of a Transition Job. Raises Killed where the model kills it."""
    context = ModelContext(
        component=Component.EVENT_BUS, store=world.store, registry=world.registry, lock=world.lock,
        cluster=MemoryAccess(), timing=TIMING, holder=name, say=world.say,
    )  # fmt: skip
    context.world = world
    logs = {backend: Backend(backend, server) for backend, server in world.servers.items()}
    steps = EventBusSteps(context, logs, (TOPIC,))
    steps.steps[Step.PREFLIGHT] = lambda _: "left out: what it refuses must do no harm where it slips through"
    steps.steps[Step.SURVEY] = lambda _: "left out: it only looks whether the backend is dead"
    before = {Step.FLEE: world.everyone_lets_go}
    looks = {
        Step.FENCE: lambda: world.fence_completed(name, context.lost_lock.is_set()),
        Step.CHECK: world.check_completed,
    }
    for step, method in steps.steps.items():
        steps.steps[step] = _observed(world, step, method, looks.get(step), before.get(step))
    return Runner(context, steps, wanted, emergency=emergency).run()


def _observed(
    world: World,
    step: Step,
    method: StepMethod,
    look: Callable[[], None] | None,
    before: Callable[[], None] | None = None,
) -> StepMethod:
    """The step, after which the model looks; `before` happens as it begins."""

    def observed(transition: Transition) -> str:
        world.step_began(step.value)
        if before is not None:
            before()
        done = method(transition)
        if look is not None:
            look()
        return done

    return observed
