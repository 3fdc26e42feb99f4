"""Publishing and consuming through the routed bus against the bare clients, by turns, at each size.

A handler looks at id, key and payload of each event, and so does the bare consumer. The clock of consuming runs
from the first batch on, so that how long a group takes to form counts for neither side.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from threading import Event as Signal

from adapters.event_bus.interface import Receipt
from adapters.event_bus.routed import RoutedEventBus
from benchmarks.bare import READ_EVENTS, BareKafka, BareRedis
from benchmarks.frame import Figure, ratios, spread, take_turns
from benchmarks.servers import BACKENDS, SIZES, Servers, Size
from contracts.envelope import Event

ROUNDS = 7
BATCH = 2000
"""Events of one publish_batch, as a user at a high rate has them."""
RATIO_LIMIT, RATIO_AIM = 0.9, 0.97
CPU_LIMIT, CPU_AIM = 10.0, 3.0
"""Added microseconds an event, of this process; a payload of 100 KB is copied once more and has five times that."""
_numbers = itertools.count()

Bare = BareRedis | BareKafka


@dataclass(frozen=True, slots=True)
class Taken:
    """One round: events a second, and CPU microseconds (of this process, all threads) an event."""

    rate: float
    cpu: float


class Stopwatch:
    """Wall and CPU seconds from `start` on."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """From now."""
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def taken(self, count: int) -> Taken:
        """`count` events took until now."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Taken(count / wall, cpu / count * 1e6)


def bare_client(running: Servers, backend: str) -> Bare:
    """The bare client of `backend`."""
    return BareRedis(running) if backend == "redis" else BareKafka(running)


def published_bare(client: Bare, size: Size) -> Taken:
    """One round of the bare client, on fresh events."""
    sent = size.made()
    watch = Stopwatch()
    client.publish(size.bare, sent)
    return watch.taken(size.events)


def published_routed(bus: RoutedEventBus, size: Size) -> Taken:
    """One round through the bus, in batches, all of them in flight."""
    sent = size.made()
    watch = Stopwatch()
    through(bus, sent)
    return watch.taken(size.events)


def through(bus: RoutedEventBus, sent: Sequence[Event]) -> None:
    """Publish all and wait for all. Raises where one failed."""
    futures: list[Future[Sequence[Receipt]]] = [
        bus.publish_batch(sent[begin : begin + BATCH]) for begin in range(0, len(sent), BATCH)
    ]
    if sum(len(future.result(60)) for future in futures) != len(sent):
        raise RuntimeError("a batch has fewer receipts than events")


def consumed_bare(client: Bare, topic: str, count: int) -> Taken:
    """One round of a bare consumer, as a new group from the earliest."""
    watch = Stopwatch()
    client.consume(topic, f"bare-{next(_numbers)}", count, watch.start)
    return watch.taken(count - READ_EVENTS)


def consumed_routed(bus: RoutedEventBus, topic: str, count: int) -> Taken:
    """One round of a subscription, as a new group from the earliest."""
    watch, done = Stopwatch(), Signal()
    seen = first = 0

    def handler(batch: Sequence[Event]) -> None:
        nonlocal seen, first
        if not seen:
            watch.start()
            first = len(batch)
        for event in batch:
            if not event.id or event.key is None or event.payload is None:
                raise ValueError("an event without id, key or payload")
        seen += len(batch)
        if seen >= count:
            done.set()

    subscription = bus.subscribe([topic], f"routed-{next(_numbers)}", handler, max_batch=READ_EVENTS)
    try:
        if not done.wait(60):
            raise TimeoutError(f"{seen} of {count} events came: {subscription.failure}")
        return watch.taken(count - first)
    finally:
        subscription.close()


def publishing(running: Servers, sizes: Sequence[Size] = SIZES, backends: Sequence[str] = BACKENDS) -> list[Figure]:
    """Figures of publishing."""
    figures: list[Figure] = []
    for backend in backends:
        with contextlib.closing(running.bus(backend)) as bus:
            client = bare_client(running, backend)
            for size in sizes:
                routed, bare = _turns(partial(published_routed, bus, size), partial(published_bare, client, size))
                how = f"publish_batch of {BATCH}, {size.events} events a round, against the bare client"
                figures += _compared(f"publish_{{}}_{backend}_{size.name}", size, routed, bare, how)
    return figures


def consuming(running: Servers, sizes: Sequence[Size] = SIZES, backends: Sequence[str] = BACKENDS) -> list[Figure]:
    """Figures of consuming: both sides read the same entries of the same topic."""
    figures: list[Figure] = []
    for backend in backends:
        with contextlib.closing(running.bus(backend)) as bus:
            client = bare_client(running, backend)
            for size in sizes:
                count = max(2 * size.events, 3 * READ_EVENTS)
                for _ in range(-(-count // size.events)):
                    through(bus, size.made())
                routed, bare = _turns(
                    partial(consumed_routed, bus, size.topic, count), partial(consumed_bare, client, size.topic, count)
                )
                how = f"{count} events a round by a new group, {READ_EVENTS} a batch, each acknowledged, both sides"
                figures += _compared(f"consume_{{}}_{backend}_{size.name}", size, routed, bare, how)
    return figures


def _turns(routed: Callable[[], Taken], bare: Callable[[], Taken]) -> tuple[list[Taken], list[Taken]]:
    rounds = take_turns(ROUNDS, {"routed": routed, "bare": bare})
    return rounds["routed"], rounds["bare"]


def _compared(name: str, size: Size, routed: Sequence[Taken], bare: Sequence[Taken], how: str) -> list[Figure]:
    ratio = ratios([taken.rate for taken in routed], [taken.rate for taken in bare])
    rates = spread([taken.rate for taken in routed]), spread([taken.rate for taken in bare])
    added = spread([r.cpu - b.cpu for r, b in zip(routed, bare, strict=True)])
    bare_cpu = spread([taken.cpu for taken in bare])
    factor = 5 if size.bytes >= 100_000 else 1
    return [
        Figure(
            figure=name.format("ratio"), value=ratio.median, unit="x", limit=RATIO_LIMIT, aim=RATIO_AIM,
            at_most=False, how=f"{how}; {ratio.text}; {rates[0].median:.0f} against {rates[1].median:.0f} events/s",
        ),
        Figure(
            figure=name.format("added_cpu"), value=added.median, unit="us/event", limit=CPU_LIMIT * factor,
            aim=CPU_AIM * factor, at_most=True,
            how=f"CPU of the process, all threads, beyond the bare client's {bare_cpu.median:.1f}; {added.text}",
        ),
    ]  # fmt: skip
