"""The routed bus on in-memory logs: the gate, poison, rejection, back-pressure, a fixed route."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from adapters.event_bus.base import LogSettings
from adapters.event_bus.errors import BusClosed, EventTooLarge, PublishTimeout, RetryableError, UnknownTopic
from adapters.event_bus.factory import BadEnvironment, fixed_route, settings_from_env
from adapters.event_bus.gate import Gate
from adapters.event_bus.interface import RejectEvent
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_server import MemoryServer
from adapters.event_bus.routed import RoutedEventBus
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from contracts.envelope import Event, MalformedEvent
from contracts.routes import Fence
from contracts.stages import Component

SETTINGS = LogSettings(topics=("t",), partitions=2, max_event_bytes=2000, publish_timeout=2.0)


class Bench:
    """A bus over one in-memory server, with its store and registry."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.store = MemoryRouteStore(fixed_route("memory", SETTINGS))
        self.registry = MemoryRegistry()
        self.bus = RoutedEventBus(
            self.store, lambda name: MemoryLog(name, SETTINGS, self.server), SETTINGS, "pod.bus", self.registry
        )

    def collect(self, topic: str, group: str = "g") -> list[Event]:
        found: list[Event] = []
        self.bus.subscribe([topic], group, found.extend)
        return found

    def fence(self, epoch: int | None) -> None:
        current = self.store.read(Component.EVENT_BUS)
        assert current.route is not None
        fence = Fence(epoch=epoch, since="2026-01-01T00:00:00Z", holder="run") if epoch else None
        self.store.write(current.route.model_copy(update={"fence": fence}), current.version)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.bus.close(2)


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)  # polling with a deadline


def test_what_is_published_is_delivered_untouched(bench: Bench) -> None:
    found = bench.collect("t")
    payload = bytes(range(256))
    receipt = bench.bus.publish("t", "k", payload)
    eventually(lambda: len(found) == 1)
    assert (found[0].id, found[0].payload, found[0].key) == (receipt.event_id, payload, "k")
    assert receipt.epoch == 1


def test_publish_async_and_future_agree_with_publish(bench: Bench) -> None:
    found = bench.collect("t")

    async def both() -> None:
        await asyncio.gather(*(bench.bus.publish_async("t", "k", b"x") for _ in range(5)))

    asyncio.run(both())
    bench.bus.publish_future("t", "k", b"y").result(2)
    eventually(lambda: len(found) == 6)


def test_a_fence_holds_events_and_is_acknowledged_and_letting_go_sends_them_in_order(bench: Bench) -> None:
    found = bench.collect("t")
    bench.bus.publish("t", "k", b"0")
    bench.fence(2)
    eventually(lambda: bench.bus.gate is Gate.HELD)
    eventually(lambda: bench.registry.records(Component.EVENT_BUS)[0].acknowledged_epoch == 2)
    held = [bench.bus.publish_future("t", "k", str(n).encode()) for n in range(1, 20)]
    assert not any(f.done() for f in held)
    bench.fence(None)
    for future in held:
        future.result(2)
    eventually(lambda: len(found) == 20)
    assert [int(e.payload) for e in found] == list(range(20))


def test_what_a_seal_refused_is_sent_in_its_place_once_the_seal_is_gone(bench: Bench) -> None:
    log = MemoryLog("memory", SETTINGS, bench.server)
    found = bench.collect("t")
    bench.bus.publish("t", "k", b"0")
    log.seal("t", 2)
    sent = [bench.bus.publish_future("t", "k", str(n).encode()) for n in range(1, 50)]
    time.sleep(0.3)  # long enough for several refusals: the point is that none is an error
    assert not any(f.done() for f in sent)
    log.unseal("t")
    for future in sent:
        future.result(5)
    eventually(lambda: len(found) == 50)
    assert [int(e.payload) for e in found] == list(range(50))


def test_an_event_over_the_limit_or_malformed_is_refused_with_its_size(bench: Bench) -> None:
    with pytest.raises(EventTooLarge, match="limit is 2000") as caught:
        bench.bus.publish("t", "k", b"x" * 3000)
    assert caught.value.size > 3000
    with pytest.raises(MalformedEvent, match="key"):
        bench.bus.publish("t", "", b"x")
    with pytest.raises(UnknownTopic, match="known: t"):
        bench.bus.publish("u", "k", b"x")


def test_a_timeout_says_that_the_outcome_is_not_known(bench: Bench) -> None:
    bench.bus.publish("t", "k", b"0")  # the gate is open: a bus that has seen no route yet also holds
    bench.fence(2)
    eventually(lambda: bench.bus.gate is Gate.HELD)
    with pytest.raises(PublishTimeout, match="may or may not"):
        bench.bus.publish("t", "k", b"x", timeout=0.1)


def test_a_closed_bus_refuses(bench: Bench) -> None:
    bench.bus.close(2)
    with pytest.raises(BusClosed):
        bench.bus.publish("t", "k", b"x")
    assert bench.bus.ready() == "the event bus is closed"
    assert not bench.registry.records(Component.EVENT_BUS)


def test_a_rejected_event_goes_to_the_dead_letters_and_the_stream_goes_on(bench: Bench) -> None:
    taken: list[bytes] = []
    letters = bench.collect("t.dead_letter", "letters")

    def handler(events: Sequence[Event]) -> None:
        for event in events:
            if event.payload == b"bad":
                raise RejectEvent(event.id, "not a bar")
        taken.extend(e.payload for e in events)

    for payload in (b"1", b"bad", b"2"):
        bench.bus.publish("t", "k", payload)
    bench.bus.subscribe(["t"], "g", handler)
    eventually(lambda: taken == [b"1", b"2"] and len(letters) == 1)
    letter = json.loads(letters[0].payload)
    assert (letter["cause"], letter["group"], letter["topic"]) == ("not a bar", "g", "t")


def test_an_event_that_crashes_its_handler_each_time_is_set_aside_with_its_cause(bench: Bench) -> None:
    taken: list[bytes] = []
    letters = bench.collect("t.dead_letter", "letters")

    def handler(events: Sequence[Event]) -> None:
        for event in events:
            taken.append(event.payload) if event.payload != b"bad" else int("x")

    for payload in (b"1", b"bad", b"2"):
        bench.bus.publish("t", "k", payload)
    bench.bus.subscribe(["t"], "g", handler)
    eventually(lambda: len(letters) == 1 and taken[-1:] == [b"2"], 20)
    assert "ValueError" in json.loads(letters[0].payload)["cause"]


def test_a_retryable_failure_never_sets_an_event_aside(bench: Bench) -> None:
    taken: list[bytes] = []
    down = threading.Event()
    down.set()

    def handler(events: Sequence[Event]) -> None:
        if down.is_set():
            raise RetryableError("the database is away")
        taken.extend(e.payload for e in events)

    letters = bench.collect("t.dead_letter", "letters")
    bench.bus.publish("t", "k", b"1")
    bench.bus.subscribe(["t"], "g", handler)
    time.sleep(0.3)  # several attempts
    down.clear()
    eventually(lambda: taken == [b"1"])
    assert not letters


def test_an_unreadable_entry_is_set_aside(bench: Bench) -> None:
    letters = bench.collect("t.dead_letter", "letters")
    found = bench.collect("t")
    bench.server.partitions("t", SETTINGS.partitions)
    bench.server.append_raw("t", 0, {"ce_id": b"1"}, b"raw")
    bench.bus.publish("t", "k", b"1")
    eventually(lambda: len(letters) == 1 and len(found) == 1)
    assert "unreadable" in json.loads(letters[0].payload)["cause"]


def test_a_new_group_may_start_at_the_latest_event(bench: Bench) -> None:
    bench.bus.publish("t", "k", b"before")
    found: list[Event] = []
    subscription = bench.bus.subscribe(["t"], "late", found.extend, start="latest")
    eventually(lambda: any(s.group == "late" for s in MemoryLog("memory", SETTINGS, bench.server).groups("t")))
    bench.bus.publish("t", "k", b"after")
    eventually(lambda: [e.payload for e in found] == [b"after"])
    assert subscription.failure is None
    with pytest.raises(ValueError, match="earliest"):
        bench.bus.subscribe(["t"], "g", found.extend, start="now")


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({"CROSSOVER_TOPICS": "a b"}, "could not hold"),
        ({"CROSSOVER_TOPICS": " , "}, "is empty"),
        ({"CROSSOVER_PARTITIONS": "0"}, "at least 1"),
        ({"CROSSOVER_MAX_EVENT_BYTES": "1MB"}, "whole number"),
    ],
)
def test_a_bad_environment_is_named(env: dict[str, str], text: str) -> None:
    with pytest.raises(BadEnvironment, match=text):
        settings_from_env(env)


def test_an_unknown_bus_type_is_refused() -> None:
    with pytest.raises(BadEnvironment, match="EVENT_BUS_TYPE is 'rabbit'"):
        fixed_route("rabbit", SETTINGS)
