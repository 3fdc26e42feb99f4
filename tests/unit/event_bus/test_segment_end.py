"""A segment is sealed, and copies land behind its end, while a consumer is in the middle of a read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.event_bus.base import Stored
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_reader import MemoryReader
from adapters.event_bus.memory_server import MemoryServer
from adapters.event_bus.routed import RoutedEventBus
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from contracts.envelope import Event
from contracts.routes import Segment
from contracts.stages import Component
from tests.unit.event_bus.test_routed import SETTINGS, eventually


def test_what_a_mirror_copied_behind_the_end_is_not_taken_for_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = {"redis": MemoryServer(), "kafka": MemoryServer()}
    logs = {name: MemoryLog(name, SETTINGS, server) for name, server in servers.items()}
    store = MemoryRouteStore(fixed_route("kafka", SETTINGS))
    bus = RoutedEventBus(store, lambda name: MemoryLog(name, SETTINGS, servers[name]), SETTINGS, "p", MemoryRegistry())
    first = Event.create("t", "k", b"1", source="test").under(1)
    later = Event.create("t", "k", b"2", source="test").under(2)
    taken: list[Event] = []
    switched = False
    poll = MemoryReader.poll

    def switch_first(reader: MemoryReader, max_events: int, timeout: float) -> Sequence[Stored]:
        nonlocal switched
        if not switched and reader._server is servers["kafka"] and reader._topic == "t":
            switched = True
            _switch(store, logs, later)
            eventually(lambda: bus._view.current is not None and bus._view.current.epoch == 2)
        return poll(reader, max_events, timeout)

    try:
        bus.publish("t", "k", b"0")
        logs["kafka"].writer("w").submit(first).result(1)
        monkeypatch.setattr(MemoryReader, "poll", switch_first)
        bus.subscribe(["t"], "g", taken.extend)
        eventually(lambda: len(taken) >= 3)
        eventually(lambda: logs["redis"].groups("t")[0].lag == 0)
    finally:
        bus.close(2)
    assert [event.payload for event in taken] == [b"0", b"1", b"2"]


def _switch(store: MemoryRouteStore, logs: dict[str, MemoryLog], later: Event) -> None:
    """kafka is sealed, redis opened; `later` is published there and copied back, all in one moment."""
    seen = store.read(Component.EVENT_BUS)
    assert seen.route is not None
    chain = seen.route.chain("t")
    end, start = logs["kafka"].end("t"), logs["redis"].end("t")
    sealed = chain[-1].model_copy(update={"end": end, "copies": True})
    chains = {**seen.route.chains, "t": (sealed, Segment(backend="redis", epoch=2, start=dict(start)))}
    store.write(seen.route.model_copy(update={"epoch": 2, "active": "redis", "chains": chains}), seen.version)
    logs["redis"].writer("w").submit(later).result(1)
    entry = next(iter(logs["redis"].scan("t", start, logs["redis"].end("t"))))
    logs["kafka"].copier("t", "redis").copy([entry], logs["redis"].after(entry))
