"""Whether the memory of a process grows with the events that went through it: publisher, mirror and consumer of one
process, as in a switch's `shadow`. CROSSOVER_BENCH_EVENTS sets how many."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import redis

from adapters.event_bus.interface import Receipt
from benchmarks.frame import Figure
from benchmarks.pause import World
from benchmarks.servers import Servers
from contracts.envelope import Event
from contracts.stages import Stage
from tests.contract.bus_servers import REDIS_PASSWORD

ENV_EVENTS = "CROSSOVER_BENCH_EVENTS"
DEFAULT_EVENTS = 300_000
BATCH, AHEAD = 1000, 4
"""Events of a batch, and batches in flight."""
WARM = 0.2
"""Of the events: while caches, buffers and arenas fill."""
KEPT = 100_000
"""Entries that the stream keeps, so that it is not Redis that fills the machine."""
_SAMPLES = 20
_MIB = float(1 << 20)


def figures(running: Servers) -> list[Figure]:
    """The growth from a fifth of the events on."""
    total = int(os.environ.get(ENV_EVENTS, DEFAULT_EVENTS))
    world = World(running.log, "growth_bench")
    try:
        world.migrate(Stage.MVP)
        world.migrate(Stage.SHADOW)
        samples = _through(world, running, total)
    finally:
        world.close()
    warm = samples[int(len(samples) * WARM)]
    grown = max(samples[-3:]) - warm
    return [
        Figure(
            figure="memory_growth", value=grown / _MIB, unit="MiB", limit=32, aim=8, at_most=True,
            how=f"resident memory of one process with publisher, mirror and consumer, from event {int(total * WARM)} "
            f"to {total} of 100 bytes; {warm / _MIB:.0f} MiB at first, at most {max(samples) / _MIB:.0f}",
        )
    ]  # fmt: skip


def _through(world: World, running: Servers, total: int) -> list[int]:
    """Publish and consume `total` events; the resident bytes at _SAMPLES places."""
    samples, seen = list[int](), threading.Semaphore(0)
    client = redis.Redis.from_url(running.redis.url, password=REDIS_PASSWORD)
    subscription = world.bus.subscribe([world.topic], "bench-growth", lambda batch: seen.release(len(batch)))
    try:
        flying: list[Future[Sequence[Receipt]]] = []
        for begin in range(0, total, BATCH):
            sent = [Event.create(world.topic, f"key-{n % 64}", b"x" * 100, source="crossover/bench")
                    for n in range(BATCH)]  # fmt: skip
            flying.append(world.bus.publish_batch(sent))
            if len(flying) >= AHEAD:
                flying.pop(0).result(60)
            _await(seen, BATCH if begin else 0)
            if begin % max(BATCH, total // _SAMPLES // BATCH * BATCH) == 0:
                samples.append(_resident())
                client.xtrim(world.topic, maxlen=KEPT, approximate=True)
        _await(seen, BATCH)
    finally:
        subscription.close()
        client.close()
    samples.append(_resident())
    return samples


def _resident() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _await(seen: threading.Semaphore, count: int) -> None:
    """Until so many more events were taken: so that the consumer stays a batch behind at most."""
    for _ in range(count):
        if not seen.acquire(timeout=60):
            raise TimeoutError("the consumer got no event for 60 s")
