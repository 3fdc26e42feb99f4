"""The outbox: at least once, under one id, in order within a key, by one engine at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import pytest

from adapters.database.base import Effects
from adapters.database.memory import MemoryTradingStore
from adapters.event_bus import BackendUnavailable
from contracts.envelope import Event
from contracts.names import TRADING_SIGNALS
from services.trading_engine import outbox as outbox_module
from services.trading_engine.outbox import LEASE, OutboxPublisher, by_turns
from tests.unit.services.buses import RecordingBus

DAY = timedelta(days=1)


def waiting(store: MemoryTradingStore, *keys: str) -> list[Event]:
    made = [Event.create(TRADING_SIGNALS, key, b"{}", source="test") for key in keys]
    store.run(lambda tx: tx.write(Effects(outbox=made)))
    return made


def ids(events: Sequence[Event]) -> list[str]:
    return [event.id for event in events]


def test_everything_is_sent_in_order_and_marked() -> None:
    store, bus = MemoryTradingStore(), RecordingBus()
    made = waiting(store, "X", "Y", "X", "X")
    assert OutboxPublisher(store, bus, "one", DAY).send() == 4
    assert [e.id for e in bus.published if e.key == "X"] == ids([made[0], made[2], made[3]])
    assert store.waiting() == 0


def test_a_key_waits_behind_its_failed_event_and_others_go_on() -> None:
    store, bus = MemoryTradingStore(), RecordingBus()
    first, second, other = waiting(store, "X", "X", "Y")
    bus.refuse[first.id] = BackendUnavailable("away")
    outbox = OutboxPublisher(store, bus, "one", DAY)
    assert outbox.send() == 1
    assert ids(bus.published) == [other.id]
    bus.refuse.clear()
    assert outbox.send() == 2
    assert ids(bus.published) == [other.id, first.id, second.id]


def test_only_the_holder_of_the_lease_sends() -> None:
    store, bus = MemoryTradingStore(), RecordingBus()
    waiting(store, "X")
    assert store.take_lease(LEASE, "another engine", 60.0)
    assert OutboxPublisher(store, bus, "one", DAY).send() == 0
    assert bus.published == []


def test_an_event_published_but_not_marked_goes_out_again_under_the_same_id() -> None:
    store, bus = MemoryTradingStore(), RecordingBus()
    (event,) = waiting(store, "X")

    class Dying(MemoryTradingStore):
        def mark_sent(self, event_ids: Sequence[str]) -> int:
            raise KeyboardInterrupt

    dying = Dying()
    dying.run(lambda tx: tx.write(Effects(outbox=[event])))
    with pytest.raises(KeyboardInterrupt):
        OutboxPublisher(dying, bus, "one", DAY).send()
    OutboxPublisher(store, bus, "two", DAY).send()
    assert ids(bus.published) == [event.id, event.id]


def test_stop_sends_what_is_there_and_gives_the_lease_up() -> None:
    store, bus = MemoryTradingStore(), RecordingBus()
    outbox = OutboxPublisher(store, bus, "one", DAY)
    outbox.start()
    waiting(store, "X")
    outbox.stop(10.0)
    assert not outbox.alive
    assert len(bus.published) == 1
    assert store.take_lease(LEASE, "the next engine", 1.0)


def test_a_wake_is_enough_to_send() -> None:
    store, bus = MemoryTradingStore(), RecordingBus()
    outbox = OutboxPublisher(store, bus, "one", DAY)
    outbox.start()
    try:
        waiting(store, "X")
        outbox.wake()
        with bus.arrived:
            assert bus.arrived.wait_for(lambda: bus.published, 10.0)
    finally:
        outbox.stop(10.0)


def test_turns_never_hold_a_key_twice() -> None:
    events = [Event.create(TRADING_SIGNALS, key, b"", source="test") for key in "XYXXZY"]
    turns = by_turns(events)
    assert [[e.key for e in turn] for turn in turns] == [["X", "Y", "Z"], ["X", "Y"], ["X"]]


def test_a_long_wait_keeps_the_lease_and_one_that_lost_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RENEW_SECONDS", 0.02)
    store, bus = MemoryTradingStore(), RecordingBus()
    bus.hold = True
    (event,) = waiting(store, "X")
    outbox = OutboxPublisher(store, bus, "one", DAY)
    outbox.start()
    try:
        with bus.arrived:
            assert bus.arrived.wait_for(lambda: bus.held, 10.0)
        assert not store.take_lease(LEASE, "another engine", 1.0)
        store.drop_lease(LEASE, "one")
        deadline = time.monotonic() + 10.0
        while not store.take_lease(LEASE, "another engine", 60.0):
            assert time.monotonic() < deadline
    finally:
        bus.release()
        outbox.stop(10.0)
    assert ids(bus.published) == [event.id]
