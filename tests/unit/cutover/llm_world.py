"""A small world for the language models' cutover: two models in memory, an orchestrator that follows the route."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, override

import pytest

from adapters.llm import Answer, ChatBackend, ChatStream, LLMError, LLMUnavailable
from adapters.llm.memory import MemoryChat
from adapters.routes.memory import MemoryAccess, MemoryLock, MemoryNodes, MemoryRegistry, MemoryRouteStore
from contracts.llm_moving import Budget, LlmMoving
from contracts.registry import AdapterRecord
from contracts.routes import Route
from contracts.stages import BACKENDS, Component, Stage, deployed_backends, other_backend
from cutover.context import Context
from cutover.llm_service import LlmSteps, Model, Models, Pace
from cutover.llm_service.preflight.cluster_items import NEEDED
from cutover.plan import Step, StepMethod, Transition
from cutover.run import Outcome, Runner
from cutover.timing import Timing
from tests.unit.cutover.world import QUICK
from validation.result import Check, Report

COMPONENT = Component.LLM_SERVICE
ALIASES = ("default", "trading")
PACE = Pace(answer=1.0, load=0.3, told=0.0, quiet=5.0, question=0.0, drain=0.2)


def ran(outcome: Outcome) -> list[str]:
    """The steps of a run."""
    return [record.step for record in outcome.records]


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the runner may see it."""


class Orchestrator(ChatBackend):
    """Answers by the route as the real one does, and tells the registry how it went. `deaf`: it sees no route any
    more. Every tenth conversation is told from the others by its number, so that a canary of 10 % gets one of ten."""

    name = "llm-orchestrator"

    def __init__(self, store: MemoryRouteStore, sides: Mapping[str, MemoryChat]) -> None:
        self._store = store
        self._sides = sides
        self._calls = itertools.count()
        self.deaf = self.mute = False
        self.in_flight: dict[str, int] = {}
        self.ttft = dict.fromkeys(sides, 50.0)
        self._route: Route | None = None
        self._told: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()  # a watch asks on a thread of its own

    @override
    async def complete(self, body: Mapping[str, Any]) -> Answer:
        self.follow()
        route = self._route
        active = route.active if route else "hosted"
        share = 100 if route is None or route.share is None else route.share
        chosen = active if next(self._calls) * 10 % 100 < share else other_backend(COMPONENT, active)
        stage = route.stage if route else Stage.MVP
        for side in (chosen, *(deployed_backends(COMPONENT, stage) - {chosen})):
            self._count(f"{side}.calls")
            try:
                answer = await self._sides[side].complete({**body, "model": f"{side}-model"})
            except LLMError:
                self._count(f"{side}.errors")
            else:
                self._count(f"{side}.answered")
                return answer
        raise LLMUnavailable("both sides are down")

    def _count(self, what: str) -> None:
        with self._lock:
            self._told[what] += 1

    def follow(self) -> None:
        """See the route as it is now; another epoch's figures begin anew."""
        if self.deaf:
            return
        seen = self._store.read(COMPONENT).route
        with self._lock:
            if seen is not None and (self._route is None or seen.epoch != self._route.epoch):
                self._told.clear()
            self._route = seen

    def forget(self) -> None:
        """A minute goes by."""
        with self._lock:
            self._told.clear()

    def tell(self, registry: MemoryRegistry) -> None:
        """Renew the record."""
        self.follow()
        epoch = self._route.epoch if self._route else 0
        with self._lock:
            told: dict[str, str] = {} if self.mute else {name: str(count) for name, count in self._told.items()}
        for side in self._sides:
            if told.get(f"{side}.calls"):
                told[f"{side}.ttft_p50_ms"] = told[f"{side}.ttft_p95_ms"] = str(self.ttft[side])
            told[f"{side}.in_flight"] = str(self.in_flight.get(side, 0))
        status = told | ({} if self.mute else {"epoch": str(epoch)})
        registry.announce(COMPONENT, "pod-1.orchestrator", "llm-orchestrator", epoch, status=status)

    @override
    async def stream(self, body: Mapping[str, Any]) -> ChatStream:
        raise NotImplementedError

    @override
    async def models(self) -> Sequence[str]:
        return ALIASES

    @override
    async def close(self) -> None:
        """Nothing to give up."""


class Registry(MemoryRegistry):
    """Adapters renew just before they are looked at: nothing here has to wait for that."""

    orchestrators: Sequence[Orchestrator] = ()

    @override
    def records(self, component: Component) -> Sequence[AdapterRecord]:
        for orchestrator in self.orchestrators:
            orchestrator.tell(self)
        return super().records(component)


class LlmWorld:
    """Everything but the cluster, judges included. `worse`: what the quality gate finds wrong, `worse_now` a sample."""

    def __init__(self) -> None:
        self.sides = {name: MemoryChat(models=(f"{name}-model",)) for name in BACKENDS[COMPONENT].values()}
        self.store = MemoryRouteStore()
        self.registry = Registry()
        self.front = Orchestrator(self.store, self.sides)
        self.registry.orchestrators = (self.front,)
        self.lock = MemoryLock()
        self.cluster = MemoryAccess(NEEDED)
        self.nodes = MemoryNodes()
        self.models: Models = {name: {alias: self.model(name, alias) for alias in ALIASES} for name in self.sides}
        self.moving = LlmMoving(budget=Budget(calls=2))
        self.pace = PACE
        self.verdict_limit = timedelta(hours=1)
        self.worse = self.worse_now = ""
        self.sampled: list[tuple[str, str, int]] = []
        self.judged: list[tuple[str, str]] = []
        self.lines: list[str] = []
        self._runs = itertools.count(1)

    def judge(self, old: Model, new: Model) -> Report:
        """A gate that knows what it will find."""
        self.judged.append((old.name, new.name))
        check = Check.that("accuracy", not self.worse, expected="not worse", found=self.worse or "not worse", fix="-")
        return Report(subject="quality", checks=(check,), figures={"accuracy": 0.5})

    def sample(self, old: Model, new: Model, count: int) -> Check:
        """The same of a sample."""
        self.sampled.append((old.name, new.name, count))
        return Check.that(
            "sample", not self.worse_now, expected="not worse", found=self.worse_now or "as good", fix="-"
        )

    def context(self, timing: Timing = QUICK) -> Context:
        """The context of another run."""
        return Context(
            COMPONENT, self.store, self.registry, self.lock, self.cluster, timing, f"run-{next(self._runs)}",
            self.lines.append, nodes=self.nodes, verdict_limit=self.verdict_limit,
        )  # fmt: skip

    def steps(self, context: Context) -> LlmSteps:
        """The steps of a run."""
        front = Model(
            backend=self.front.name, alias="default", name="default", base_url="front", open=lambda: self.front
        )
        return LlmSteps(context, self.models, front, self, self.moving, self.pace)

    def model(self, side: str, alias: str) -> Model:
        """Who answers an alias at a side, in memory."""
        chat = self.sides[side]
        return Model(backend=side, alias=alias, name=f"{side}-model", base_url=f"http://{side}/v1", open=lambda: chat)

    def migrate(
        self, stage: Stage, timing: Timing = QUICK, instead: Mapping[Step, StepMethod] | None = None
    ) -> Outcome:
        """Run a Transition Job in this thread; `instead`: what is done in place of a step."""
        context = self.context(timing)
        steps = self.steps(context)
        steps.steps.update(instead or {})
        return Runner(context, steps, stage).run()

    def killed_at(self, stage: Stage, step: Step, *, after: bool) -> bool:
        """Run a Job that dies like a killed process before or after `step`; whether it came to that."""
        context = self.context()
        steps = self.steps(context)
        real = steps.steps[step]

        def dies(transition: Transition) -> str:
            if after:
                real(transition)
            raise Killed

        steps.steps[step] = dies
        try:
            Runner(context, steps, stage).run()
        except Killed:
            self.lock = MemoryLock()
            return True
        return False

    def set(self, **changes: object) -> None:
        """What config says from the next run on."""
        self.moving = self.moving.model_copy(update=changes)

    def route(self) -> Route:
        """The route now."""
        found = self.store.read(COMPONENT).route
        assert found is not None
        return found

    def reach(self, *stages: Stage) -> None:
        """Migrate through `stages`, each of which must be reached."""
        for stage in stages:
            outcome = self.migrate(stage)
            if not outcome.reached:
                pytest.fail("\n".join([outcome.message, *self.lines]))

    def down(self, side: str) -> None:
        """The models of `side` do not answer any more."""
        self.sides[side].fault = LLMUnavailable("it is down, as asked for")

    def up(self, side: str) -> None:
        """They do again, and for long enough: figures are of the last minute."""
        self.sides[side].fault = None
        self.front.forget()
