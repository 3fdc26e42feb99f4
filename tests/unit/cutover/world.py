"""A small world for cutover tests: two in-memory logs, routes, a mirror, a bus and its consumers."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from adapters.event_bus.base import EventLog, LogSettings
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_server import MemoryServer
from adapters.event_bus.routed import RoutedEventBus
from adapters.event_bus.view import RouteView
from adapters.routes.base import AdapterRegistry, RouteStore
from adapters.routes.memory import MemoryAccess, MemoryLock, MemoryRegistry, MemoryRouteStore
from contracts.envelope import Event
from contracts.names import all_topics
from contracts.routes import Route
from contracts.stages import Component, Stage
from cutover.context import Context
from cutover.event_bus import EventBusSteps
from cutover.event_bus.preflight.cluster_items import NEEDED
from cutover.mirror.service import MirrorService
from cutover.run import Outcome, Runner
from cutover.timing import Timing

TOPIC = "market_data"
KEYS = tuple(f"K{n}" for n in range(4))
QUICK = Timing(
    fence=2.0,
    pause=5.0,
    drain=3.0,
    backfill=5.0,
    watch=0.1,
    watch_pace=0.02,
    answer=0.3,
    finish_groups=5.0,
    lock_wait=0.2,
    survey=0.4,
    flight_fence=2.0,
    flight_count=1.0,
)


class World:
    """Everything but the cluster. Use as a context manager."""

    def __init__(self, groups: Sequence[str] = ("a", "b"), topic: str = TOPIC) -> None:
        self.topic = topic
        self.configure((topic,))
        self.servers = {"redis": MemoryServer(), "kafka": MemoryServer()}
        self.store = self.make_store()
        self.adapters = MemoryRegistry()
        self.registry = self.make_registry()
        self.lock = MemoryLock()
        self.cluster = MemoryAccess(NEEDED)
        self.volumes: dict[str, int] = {}
        self.lines: list[str] = []
        self.sent: dict[str, list[str]] = defaultdict(list)
        self.effects: dict[str, dict[str, list[str]]] = {g: defaultdict(list) for g in groups}
        self.errors: list[BaseException] = []
        self._runs = itertools.count(1)
        self._mirror_view = RouteView(self.store, Component.EVENT_BUS)
        self._mirror = threading.Thread(target=MirrorService(self._mirror_view, self.mirror_log).run, daemon=True)
        self.bus = RoutedEventBus(self.store, self.log, self.following, "pod-1.bus", self.registry)

    def make_store(self) -> RouteStore:
        """Where the route is kept."""
        return MemoryRouteStore()

    def make_registry(self) -> AdapterRegistry:
        """Where adapters make themselves known."""
        return self.adapters

    def configure(self, topics: tuple[str, ...], partitions: int = 3) -> None:
        """What config asks for from the next run on."""
        self.settings = LogSettings(topics=topics, partitions=partitions, publish_timeout=10.0)
        self.following = replace(self.settings, topics=())
        self.topics = all_topics(topics)

    def log(self, name: str) -> EventLog:
        """A service's own view of a backend: it follows the route, which says what topics there are."""
        return MemoryLog(name, self.following, self.servers[name])

    def mirror_log(self, name: str) -> EventLog:
        """The mirror's."""
        return self.log(name)

    def cutover_log(self, name: str) -> EventLog:
        """A cutover's."""
        return MemoryLog(name, self.settings, self.servers[name])

    def __enter__(self) -> Self:
        self._mirror_view.start()
        self._mirror.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bus.close(5)
        self._mirror_view.stop()
        self._mirror.join(5)

    def subscribe(self, max_batch: int = 7) -> None:
        """Every group reads from the earliest event; each delivery is an effect."""
        for group in self.effects:
            self.bus.subscribe([self.topic], group, self._taker(group), max_batch=max_batch)

    def _taker(self, group: str) -> Callable[[Sequence[Event]], None]:
        def take(events: Sequence[Event]) -> None:
            for event in events:
                self.effects[group][event.key].append(event.id)

        return take

    def publish(self, count: int) -> None:
        """Publish `count` events in turn over the keys, waiting for each."""
        for number in range(count):
            key = KEYS[number % len(KEYS)]
            try:
                self.sent[key].append(self.bus.publish(self.topic, key, str(number).encode(), timeout=8).event_id)
            except Exception as error:
                self.errors.append(error)

    def context(self, timing: Timing = QUICK) -> Context:
        """The context of another run."""
        return Context(
            Component.EVENT_BUS,
            self.store,
            self.registry,
            self.lock,
            self.cluster,
            timing,
            f"run-{next(self._runs)}",
            self.lines.append,
        )

    def steps(self, context: Context) -> EventBusSteps:
        """The steps of a run over logs of its own."""
        logs = {name: self.cutover_log(name) for name in self.servers}
        return EventBusSteps(context, logs, self.topics, self.volumes)

    def migrate(self, stage: Stage, timing: Timing = QUICK, *, emergency: bool = False) -> Outcome:
        """Run a Transition Job in this thread."""
        context = self.context(timing)
        steps = self.steps(context)
        try:
            return Runner(context, steps, stage, emergency=emergency).run()
        finally:
            steps.close()

    def route(self) -> Route:
        """The route now."""
        found = self.store.read(Component.EVENT_BUS).route
        assert found is not None
        return found

    def eventually(self, holds: Callable[[], bool], seconds: float = 8.0) -> None:
        """Wait until `holds`, or fail."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "\n".join(["did not come true in time", *self.lines])
            time.sleep(0.01)  # polling with a deadline

    def assert_ledger(self, seconds: float = 8.0) -> None:
        """Every group took effect of every acknowledged event once, in order within its key."""
        sent = {key: ids for key, ids in self.sent.items() if ids}
        deadline = time.monotonic() + seconds
        total = sum(map(len, sent.values()))
        while time.monotonic() < deadline:
            if all(sum(map(len, keys.values())) >= total for keys in self.effects.values()):
                break
            time.sleep(0.02)  # polling for the effects, with a deadline
        assert not self.errors, self.errors
        for group, keys in self.effects.items():
            assert dict(keys) == sent, f"group {group} differs"
