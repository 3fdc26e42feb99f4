"""How long a switch holds publishers up: the real steps of a cutover between real servers, under load.

Publisher, consumer, mirror and cutover share one process here; routes are in memory. On a cluster
`make demo` takes the same figure with each of them in a pod of its own.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from adapters.event_bus.base import EventLog, LogSettings
from adapters.event_bus.routed import RoutedEventBus
from adapters.event_bus.view import RouteView
from adapters.routes.memory import MemoryAccess, MemoryLock, MemoryRegistry, MemoryRouteStore
from benchmarks.frame import Figure, spread
from contracts import names
from contracts.stages import Component, Stage
from cutover.context import Context
from cutover.event_bus import EventBusSteps
from cutover.event_bus.preflight.cluster_items import NEEDED
from cutover.mirror.service import MirrorService
from cutover.run import Runner
from cutover.timing import Timing
from validation.event_bus import Proof, Rules, read_run
from validation.ledger import Window
from validation.load.consuming import Consuming
from validation.load.meeting import stop_path
from validation.load.publishing import Publishing, Schedule
from validation.result import Verdict

RATE = 500.0
GROUP = "bench-pause"
ROUNDS = 8
"""Switches measured: there and back, by turns."""
AROUND_SECONDS = 3.0
SAME = 1.05
"""What counts as no slower: a cutover's seconds are measured to a few percent. Not the rounds' own spread, by which a
noisy machine would excuse what a quiet one shows."""


QUICK = Timing(watch=2.0)


class OpenLog(Protocol):
    """Opens a backend's log with the rights of a user."""

    def __call__(self, backend: str, user: str, settings: LogSettings) -> EventLog: ...


class World:
    """A bus, a mirror and cutovers over two real logs, on a topic that nobody else uses."""

    def __init__(self, open_log: OpenLog, topic: str = "pause_bench") -> None:
        self.topic = topic
        self._settings = LogSettings(topics=(topic,))
        self._open = open_log
        self.store, self.registry, self.lock = MemoryRouteStore(), MemoryRegistry(), MemoryLock()
        self._view = RouteView(self.store, Component.EVENT_BUS)
        mirror = MirrorService(self._view, partial(open_log, user=names.KAFKA_MIRROR_USER, settings=self._settings))
        self._mirror = threading.Thread(target=mirror.run, daemon=True)
        self.bus = RoutedEventBus(
            self.store,
            lambda name: open_log(name, names.KAFKA_APP_USER, self._settings),
            self._settings,
            "bench.bus",
            self.registry,
        )
        self._view.start()
        self._mirror.start()

    def migrate(self, stage: Stage, timing: Timing = QUICK) -> float:
        """A cutover to `stage`; its seconds. Raises RuntimeError where it was not reached."""
        said: list[str] = []
        cluster = MemoryAccess(NEEDED)
        context = Context(
            Component.EVENT_BUS, self.store, self.registry, self.lock, cluster, timing, "bench", said.append
        )
        logs = {name: self._open(name, names.KAFKA_ADMIN_USER, self._settings) for name in ("redis", "kafka")}
        steps = EventBusSteps(context, logs, names.all_topics(self._settings.topics))
        began = time.monotonic()
        try:
            outcome = Runner(context, steps, stage).run()
        finally:
            steps.close()
        if not outcome.reached:
            raise RuntimeError(f"{stage.value} was not reached: {outcome.message}\n" + "\n".join(said))
        return time.monotonic() - began

    def close(self) -> None:
        """End everything."""
        self.bus.close()
        self._view.stop()
        self._mirror.join(10)


@dataclass(frozen=True, slots=True)
class Switched:
    """One switch: the longest stall of publishers in its window (ms), and the cutover's seconds."""

    stall_ms: float
    seconds: float


@contextlib.contextmanager
def loaded(world: World, folder: Path) -> Iterator[None]:
    """Load on the bus, with a ledger in `folder`, for as long as the block lasts."""
    publishing = Publishing(
        world.bus, folder, Schedule(run="bench", rate=RATE, seconds=600, topic=world.topic), lambda _: None
    )
    consuming = Consuming(world.bus, folder, run="bench", group=GROUP, topic=world.topic)
    threads = [
        threading.Thread(target=consuming.run, args=(_never, lambda _: None)),
        threading.Thread(target=publishing.run, args=(_never,)),
    ]
    threads[0].start()
    missing = publishing.await_consumers((GROUP,), 60)
    if missing:
        raise RuntimeError(f"the consumers {missing} were not ready")
    threads[1].start()
    try:
        yield
    finally:
        stop_path(folder).touch()
        for thread in reversed(threads):
            thread.join(180)


def _never() -> bool:
    return False


def _switches(world: World, folder: Path) -> tuple[dict[Stage, list[Switched]], Verdict]:
    windows: list[tuple[Stage, float, Window]] = []
    world.migrate(Stage.MVP)
    with loaded(world, folder):
        world.migrate(Stage.SHADOW)
        for number in range(ROUNDS * 2):
            goal = Stage.SHADOW if number % 2 else Stage.SCALE
            started = time.time_ns()
            seconds = world.migrate(goal)
            time.sleep(AROUND_SECONDS)  # load on the new side
            windows.append((goal, seconds, Window(started, time.time_ns())))
    proof = Proof(read_run(folder, (GROUP,)), Rules(min_rate=RATE, min_covered=0.5))
    found: dict[Stage, list[Switched]] = {Stage.SCALE: [], Stage.SHADOW: []}
    for goal, seconds, window in windows:
        stall = proof.judge(goal.value, window).figures["publish_stall_ms_max"]
        found[goal].append(Switched(stall, seconds))
    return found, proof.judge("whole").overall()


def figures(open_log: OpenLog) -> list[Figure]:
    """The pause there and back, and how long a whole cutover takes."""
    with tempfile.TemporaryDirectory(prefix="crossover-bench-") as folder:
        world = World(open_log)
        try:
            found, verdict = _switches(world, Path(folder))
        finally:
            world.close()
    if verdict is not Verdict.HOLDS:
        raise RuntimeError(f"the ledger of the switches says {verdict.value}: their pauses mean nothing")
    return [*_stalls(found), *_way_back(found)]


def _stalls(found: Mapping[Stage, Sequence[Switched]]) -> list[Figure]:
    """The stall of publishers, there, back, and over all switches."""
    made = []
    for name, goal in (("redis_to_kafka", Stage.SCALE), ("kafka_to_redis", Stage.SHADOW)):
        stall = spread([switch.stall_ms for switch in found[goal]])
        how = f"longest publish stall around a switch at {RATE:g} events/s, ledger clean; {stall.text}"
        made.append(
            Figure(figure=f"pause_{name}", value=stall.median, unit="ms", limit=250, aim=100, at_most=True, how=how)
        )
    stalls = [switch.stall_ms for switches in found.values() for switch in switches]
    p99 = statistics.quantiles(stalls, n=100, method="inclusive")[98]
    how = f"of the longest stalls of {len(stalls)} switches, there and back; the longest {max(stalls):.0f}"
    return [*made, Figure(figure="pause_p99", value=p99, unit="ms", limit=250, aim=100, at_most=True, how=how)]


def _way_back(found: Mapping[Stage, Sequence[Switched]]) -> list[Figure]:
    """The rollback against the way forward: each switch with the one that followed it."""
    pairs = list(zip(found[Stage.SHADOW], found[Stage.SCALE], strict=True))
    seconds = spread([back.seconds / forth.seconds for back, forth in pairs])
    stall = spread([back.stall_ms / forth.stall_ms for back, forth in pairs])
    forth = spread([switch.seconds for switch in found[Stage.SCALE]])
    return [
        Figure(
            figure="rollback_against_forward", value=seconds.median, unit="x", limit=SAME, aim=1.0,
            at_most=True, how=f"seconds of a whole cutover back against forward; {seconds.text}; forward "
            f"{forth.median:.1f} s; stalls back against forward {stall.median:.2f}, {stall.text}",
        )
    ]  # fmt: skip
