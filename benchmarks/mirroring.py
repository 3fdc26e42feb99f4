"""The mirror: how fast it drains a backlog against the slower of the bare clients, and how far it is behind."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from adapters.event_bus.base import EventLog, LogCopier, Stored
from adapters.event_bus.routed import RoutedEventBus
from benchmarks.frame import Figure, spread, take_turns
from benchmarks.peers import Bare, Taken, bare_client, consumed_bare, published_bare, through
from benchmarks.servers import SIZES, Servers, Size
from contracts import names
from contracts.envelope import Event
from contracts.routes import Cursor
from cutover.mirror.service import Copying, CopySession, TopicMirror

ROUNDS = 5
DIRECTIONS = (("redis", "kafka"), ("kafka", "redis"))
DRAINED = next(size for size in SIZES if size.name == "1kb")
LAG_RATE, LAG_SECONDS = 5000, 10.0
_TICK_SECONDS = 0.01
_PATIENCE_SECONDS = 60.0


def any_epoch() -> int:
    """No route is followed here: whatever the epoch, it may be copied."""
    return 1 << 30


@dataclass(frozen=True, slots=True)
class Direction:
    """A mirror of one topic from one server to the other, and the bare clients of both."""

    source: EventLog
    target: EventLog
    bus: RoutedEventBus
    reading: Bare
    writing: Bare

    def copying(self, topic: str) -> Copying:
        """What is copied, from where the source ends now."""
        return Copying(topic, self.source.name, self.target.name, self.source.end(topic), False, 1)

    def drained(self, size: Size) -> Taken:
        """One round: a backlog is copied. The session is open before the clock runs."""
        copying = self.copying(size.topic)
        through(self.bus, size.made())
        session = CopySession(copying, self.source, self.target, any_epoch)
        try:
            copied, began = 0, time.perf_counter()
            deadline = began + _PATIENCE_SECONDS
            while copied < size.events:
                copied += session.step(0.1) or 0
                if time.perf_counter() > deadline:
                    raise TimeoutError(f"{copied} of {size.events} events were copied in {_PATIENCE_SECONDS:g} s")
            return Taken(copied / (time.perf_counter() - began), 0.0)
        finally:
            session.close()

    def lags(self, topic: str) -> list[float]:
        """Milliseconds from an event's durability at the source to that of its copy at the target, one each."""
        target = _Noting(self.target)
        mirror = TopicMirror(self.copying(topic), self.source, cast(EventLog, target), any_epoch)
        try:
            # A steady mirror is measured, so it is seen to copy before the clock runs.
            target.wait_for(_published(self.bus, topic, 1.0), _PATIENCE_SECONDS)
            acknowledged = _published(self.bus, topic, LAG_SECONDS)
            target.wait_for(acknowledged, _PATIENCE_SECONDS)
        finally:
            mirror.stop()
            mirror.join()
        return [max(0.0, target.seen[name] - at) * 1e3 for name, at in acknowledged.items()]


class _Noting:
    """A log, and when each copy in it became durable."""

    def __init__(self, log: EventLog) -> None:
        self.seen: dict[str, float] = {}
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def copier(self, topic: str, source: str, segment: int = 0) -> LogCopier:
        """A copier that notes what it has copied."""
        return _NotingCopier(self._log.copier(topic, source, segment), self.seen)

    def wait_for(self, wanted: Mapping[str, float], seconds: float) -> None:
        """Until all of `wanted` were copied. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not wanted.keys() <= self.seen.keys():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(wanted.keys() - self.seen.keys())} events never came to the target")
            time.sleep(0.05)  # the mirror's own thread goes on meanwhile


class _NotingCopier(LogCopier):
    """`copier`, and in `seen` when each copy became durable."""

    def __init__(self, copier: LogCopier, seen: dict[str, float]) -> None:
        self._copier = copier
        self._seen = seen
        self._sent: list[Stored] = []
        self.most_events = copier.most_events

    def send(self, entries: Sequence[Stored]) -> Sequence[Stored]:
        left = self._copier.send(entries)
        self._sent += entries[: len(entries) - len(left)]
        return left

    def copy(self, entries: Sequence[Stored], reached: Cursor) -> None:
        self._copier.copy(entries, reached)
        now = time.monotonic()
        copied = [*self._sent, *entries]
        self._seen.update((entry.event.id, now) for entry in copied if entry.event is not None)
        self._sent = []

    def close(self) -> None:
        self._copier.close()


def _published(bus: RoutedEventBus, topic: str, seconds: float) -> dict[str, float]:
    """Publish at LAG_RATE for so many `seconds`; when each became durable, by id, in seconds of time.monotonic."""
    acknowledged: dict[str, float] = {}
    body, count = b"x" * 200, int(LAG_RATE * _TICK_SECONDS)
    futures, due = [], time.monotonic()
    for _ in range(int(seconds / _TICK_SECONDS)):
        sent = [Event.create(topic, f"key-{n}", body, source="crossover/bench") for n in range(count)]
        future = bus.publish_batch(sent)
        future.add_done_callback(partial(_note, acknowledged, [event.id for event in sent]))
        futures.append(future)
        due += _TICK_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))  # paces the load
    for future in futures:
        future.result(_PATIENCE_SECONDS)
    return acknowledged


def _note(acknowledged: dict[str, float], ids: Sequence[str], _: object) -> None:
    acknowledged.update(dict.fromkeys(ids, time.monotonic()))


def figures(running: Servers) -> list[Figure]:
    """Drain and lag, in both directions."""
    found: list[Figure] = []
    for source, target in DIRECTIONS:
        with contextlib.ExitStack() as stack:
            bus = stack.enter_context(contextlib.closing(running.bus(source)))
            running.log(target, names.KAFKA_ADMIN_USER).ensure()
            logs = [running.log(name, names.KAFKA_MIRROR_USER) for name in (source, target)]
            for log in logs:
                stack.callback(log.close)
            made = Direction(logs[0], logs[1], bus, bare_client(running, source), bare_client(running, target))
            found += [_drain(made), _lag(made)]
    return found


def _drain(direction: Direction) -> Figure:
    size = DRAINED

    def read() -> Taken:
        through(direction.bus, size.made())
        return consumed_bare(direction.reading, size.topic, size.events)

    rounds = take_turns(
        ROUNDS,
        {
            "drained": lambda: direction.drained(size),
            "read": read,
            "written": lambda: published_bare(direction.writing, size),
        },
    )
    slower = [min(r.rate, w.rate) for r, w in zip(rounds["read"], rounds["written"], strict=True)]
    ratio = spread([d.rate / s for d, s in zip(rounds["drained"], slower, strict=True)])
    rate = statistics.median(d.rate for d in rounds["drained"])
    return Figure(
        figure=f"mirror_drain_ratio_{direction.source.name}_to_{direction.target.name}", value=ratio.median, unit="x",
        limit=0.7, aim=0.9, at_most=False,
        how=f"a backlog of {size.events} events of {size.bytes} bytes, against the slower of the bare consumer of the "
        f"source and the bare producer of the target; {ratio.text}; {rate:.0f} events/s",
    )  # fmt: skip


def _lag(direction: Direction) -> Figure:
    lags = direction.lags(SIZES[0].topic)
    cuts = statistics.quantiles(lags, n=100, method="inclusive")
    return Figure(
        figure=f"mirror_lag_p99_{direction.source.name}_to_{direction.target.name}", value=cuts[98], unit="ms",
        limit=50, aim=25, at_most=True,
        how=f"from durable at the source to durable at the target, {len(lags)} events at {LAG_RATE} events/s; median "
        f"{cuts[49]:.1f}, IQR {cuts[24]:.1f} to {cuts[74]:.1f}, max {max(lags):.1f}",
    )  # fmt: skip
