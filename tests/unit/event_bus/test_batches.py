"""Batches: accepted as a whole, told as a whole, and in order within a key whatever a seal refuses of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from adapters.event_bus.base import LogSettings
from adapters.event_bus.errors import BatchFailed, BusClosed, EventTooLarge, Fenced, PermanentError, UnknownTopic
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.memory import MemoryLog, MemoryWriter
from adapters.event_bus.memory_server import MemoryServer
from adapters.event_bus.parcels import LANES, PARCEL_EVENTS
from adapters.event_bus.publisher import MAX_OUTSTANDING, Publisher
from adapters.event_bus.wire import pack
from contracts.envelope import Event, parse_event, parse_ordered

SETTINGS = LogSettings(topics=("t", "u"), partitions=1, max_event_bytes=2000)


class Moody(MemoryWriter):
    """Meets each event as the bench's `mood` says: with an error, or None to store it."""

    bench: Bench

    def submit(self, event: Event) -> Future[str]:
        error = self.bench.mood(event)
        if error is None:
            return super().submit(event)
        failed: Future[str] = Future()
        failed.set_exception(error)
        return failed


class Bench:
    """A publisher a step at a time, over one in-memory server."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.mood: Callable[[Event], Exception | None] = lambda event: None
        self.log = MemoryLog("memory", SETTINGS, self.server)
        self.publisher = Publisher(self._open, SETTINGS, "p", lambda epoch: None, aside=lambda work: None)
        self.publisher.on_route(fixed_route("memory", SETTINGS))

    def _open(self, name: str) -> MemoryLog:
        log = MemoryLog(name, SETTINGS, self.server)

        def writer(client_id: str) -> Moody:
            made = Moody(self.server, SETTINGS)
            made.bench = self
            return made

        log.writer = writer  # type: ignore[method-assign]  # the fake with a mood
        return log

    def settle(self) -> None:
        for _ in range(6):
            self.publisher.step()

    def payloads(self, topic: str = "t") -> list[int]:
        stored = self.log.scan(topic, {}, self.log.end(topic))
        return [int(entry.event.payload) for entry in stored if entry.event]


def events(count: int, *, topic: str = "t", keys: int = 1) -> list[Event]:
    return [Event.create(topic, f"k{n % keys}", str(n).encode(), source="test") for n in range(count)]


def test_a_batch_resolves_with_receipts_in_its_order_over_topics_and_parcels() -> None:
    bench = Bench()
    batch = [event for pair in zip(events(1200, keys=7), events(1200, topic="u"), strict=True) for event in pair]
    future = bench.publisher.publish_batch(batch)
    assert not future.done()  # held: no writer is open yet
    bench.settle()
    assert [receipt.event_id for receipt in future.result(0)] == [event.id for event in batch]
    assert {receipt.epoch for receipt in future.result(0)} == {1}
    assert bench.payloads("u") == list(range(1200))


def test_what_a_seal_refused_of_a_batch_goes_back_to_its_place() -> None:
    bench = Bench()
    sealed = True
    bench.mood = lambda event: Fenced("sealed") if sealed and int(event.payload) >= 3 else None
    first = bench.publisher.publish_batch(events(6))
    bench.settle()
    later = bench.publisher.publish(Event.create("t", "k0", b"6", source="test"))
    assert not first.done() and not later.done()
    assert bench.payloads() == [0, 1, 2]
    sealed = False
    bench.settle()
    assert [receipt.position for receipt in first.result(0)] == [f"0:{n}" for n in range(6)]
    assert later.done()
    assert bench.payloads() == list(range(7))


def test_a_batch_that_partly_failed_says_which_events_and_why() -> None:
    bench = Bench()
    bench.mood = lambda event: PermanentError("no") if event.payload == b"1" else None
    batch = events(3)
    future = bench.publisher.publish_batch(batch)
    bench.settle()
    with pytest.raises(BatchFailed, match="1 of 3 events") as caught:
        future.result(0)
    assert list(caught.value.errors) == [batch[1].id]
    assert bench.payloads() == [0, 2]


def test_a_batch_with_one_unfit_event_is_refused_as_a_whole() -> None:
    bench = Bench()
    large = Event.create("t", "k", b"x" * 3000, source="test")
    foreign = Event.create("elsewhere", "k", b"", source="test")
    for unfit, error in ((large, EventTooLarge), (foreign, UnknownTopic)):
        with pytest.raises(error):
            bench.publisher.publish_batch([*events(3), unfit])
    with pytest.raises(ValueError, match="split it"):
        bench.publisher.publish_batch([large] * (MAX_OUTSTANDING + 1))
    assert bench.publisher.publish_batch([]).result(0) == ()
    bench.settle()
    assert bench.payloads() == []


def test_a_closed_publisher_gives_the_room_of_a_refused_batch_back() -> None:
    bench = Bench()
    bench.publisher.start()
    bench.publisher.close(1)
    for _ in range(3):
        with pytest.raises(BusClosed):
            bench.publisher.publish_batch(events(MAX_OUTSTANDING - 1))


def test_a_key_keeps_its_lane_and_parcels_are_bounded() -> None:
    batch = events(PARCEL_EVENTS * 3, keys=16)
    parcels = pack(SETTINGS, batch)
    lanes: dict[str, set[int]] = {}
    for parcel in parcels:
        assert len(parcel.events) <= PARCEL_EVENTS and parcel.lane in range(LANES)
        assert [batch[place] for place in parcel.places] == list(parcel.events)
        for event in parcel.events:
            lanes.setdefault(event.key, set()).add(parcel.lane)
    assert all(len(found) == 1 for found in lanes.values())
    for key in lanes:
        order = [int(e.payload) for parcel in parcels for e in parcel.events if e.key == key]
        assert order == sorted(order)


def test_an_events_size_is_that_of_its_headers_and_payload() -> None:
    event = Event.create("t", "Δ", json.dumps("ü").encode(), source="s", type="x").under(12)
    headers = event.headers()
    assert event.size() == len(event.payload) + sum(len(name) + len(value) for name, value in headers.items())
    assert parse_event("t", headers, event.payload) == event
    assert parse_ordered("t", list(headers.items()), event.payload) == event
    assert dict(event.wire_headers(13))["ce_epoch"] == b"13"


@pytest.mark.parametrize("spoilt", [0, 1, 2, 3, 7])
def test_headers_that_do_not_stand_as_they_are_written_are_left_to_the_parser_that_names_what_is_wrong(
    spoilt: int,
) -> None:
    headers = Event.create("t", "k", b"", source="s").under(1).wire_headers(1)
    for wrong in ([*headers[:spoilt], *headers[spoilt + 1 :]], [*headers, ("x", b"")], headers[::-1]):
        assert parse_ordered("t", wrong, b"") is None
    name, _ = headers[spoilt]
    assert parse_ordered("t", [*headers[:spoilt], (name, b"\xff"), *headers[spoilt + 1 :]], b"") is None
    assert parse_ordered("t", [*headers[:spoilt], (name, b""), *headers[spoilt + 1 :]], b"") is None
