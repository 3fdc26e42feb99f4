"""The contract of an event log where its server dies, freezes, or comes back."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from adapters.event_bus.base import Stored
from adapters.event_bus.errors import BackendUnavailable, PublishTimeout
from adapters.event_bus.journal import place_of
from adapters.event_bus.parcels import Outcome, Parcel
from adapters.event_bus.wire import pack
from contracts.names import dead_letter_topic
from tests.contract.event_logs import Bench, KafkaBench, RedisBench, eventually, note, take
from tests.contract.own_servers import own_kafka, own_redis

pytestmark = pytest.mark.contract

UNKNOWN = (PublishTimeout, BackendUnavailable)
"""What a writer says of an event of which it has no answer."""


@pytest.fixture(params=["redis", "kafka"])
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A bench whose server is its own, and may be killed. Its writers give up after 20 s."""
    with ExitStack() as stack:
        if request.param == "redis":
            bench: Bench = RedisBench(stack.enter_context(own_redis(tmp_path)), publish_timeout=20.0)
        else:
            bench = KafkaBench(stack.enter_context(own_kafka(tmp_path)), publish_timeout=20.0)
        stack.callback(bench.close)
        bench.admin.ensure()
        yield bench


def test_what_is_sent_while_the_server_dies_and_returns_is_stored_once_and_in_order(mortal: Bench) -> None:
    assert mortal.server is not None
    writer = mortal.app.writer("w")
    futures: list[Future[str]] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.wait(0.002):
            futures.append(writer.submit(mortal.event(str(len(futures)), key=f"k{len(futures) % 4}")))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        eventually(lambda: sum(f.done() for f in futures) > 100)
        mortal.server.kill()
        before = len(futures)
        eventually(lambda: len(futures) > before + 100)
        mortal.server.start()
        eventually(futures[before + 50].done, 30)
    finally:
        stop.set()
        thread.join()
    assert writer.drain(30)
    assert [f.exception() for f in futures if f.exception()] == []
    keys: dict[str, list[int]] = defaultdict(list)
    note(keys, mortal.all())
    assert dict(keys) == {f"k{k}": list(range(k, len(futures), 4)) for k in range(4)}
    writer.close()


def test_each_event_of_a_batch_lies_where_it_is_said_to_though_the_server_died_in_its_midst(mortal: Bench) -> None:
    """Kafka is asked about the ends of a batch: what lies between is where that says, or is told as unknown."""
    assert mortal.server is not None
    hasty = mortal.open("trading", publish_timeout=2.0)
    writer = hasty.writer("w")
    sent: list[tuple[Parcel, Future[Sequence[Outcome]]]] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.wait(0.05):
            events = [mortal.event(os.urandom(1000), key=f"k{n % 7}") for n in range(200)]
            sent.extend((parcel, writer.submit_all(parcel, 1)) for parcel in pack(mortal.settings, events))

    def come(kind: type | tuple[type, ...], since: int) -> bool:
        """Whether something that was sent after the first `since` parcels came to this."""
        return any(isinstance(at, kind) for _, told in sent[since:] if told.done() for at in told.result())

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(2):
            known = len(sent)
            eventually(partial(come, str, known), 30)
            known = len(sent)
            mortal.server.kill()  # a few batches are on their way
            eventually(partial(come, UNKNOWN, known), 30)
            mortal.server.start()
        eventually(partial(come, str, len(sent)), 30)
    finally:
        stop.set()
        thread.join()
    outcomes = [
        (event.id, at) for parcel, told in sent for event, at in zip(parcel.events, told.result(40), strict=True)
    ]
    stored = [(event_id, place_of(at)) for event_id, at in outcomes if isinstance(at, str)]
    lies = {(str(entry.partition), entry.position): entry.event.id for entry in mortal.all() if entry.event}
    assert [event_id for event_id, place in stored if lies.get(place) != event_id] == []
    assert len(stored) > 1000
    assert len(set(lies.values())) == len(lies)
    writer.close()


def test_a_frozen_server_is_told_as_not_known_and_what_comes_later_is_stored(mortal: Bench) -> None:
    assert mortal.server is not None
    hasty = mortal.open("trading", publish_timeout=1.0)
    writer = hasty.writer("w")
    eventually(lambda: writer.submit(mortal.event("before")).exception(30) is None, 30)  # connecting may take as long
    mortal.server.freeze()
    lost = writer.submit(mortal.event("lost"))
    assert isinstance(lost.exception(30), PublishTimeout)
    mortal.server.thaw()
    eventually(lambda: writer.submit(mortal.event("after")).exception(30) is None, 30)
    payloads = [e.event.payload for e in mortal.all() if e.event]
    assert payloads[0] == b"before"
    assert payloads.count(b"lost") <= 1
    assert b"lost" not in payloads[payloads.index(b"after") :]
    writer.close()


def test_a_group_goes_on_after_the_server_died_and_returned(mortal: Bench) -> None:
    assert mortal.server is not None
    mortal.write(*"abcd")
    reader = mortal.app.reader(mortal.topic, "g", "m", mortal.segment())
    assert take(reader, 2) == ["a", "b"]
    assert take(reader, 1, ack=False) == ["c"]
    reader.close()
    mortal.server.kill()
    mortal.server.start()
    again = mortal.app.reader(mortal.topic, "g", "m", mortal.segment())
    assert take(again, 2, seconds=30) == ["c", "d"]
    again.close()


def test_a_seal_and_copies_outlive_the_server(mortal: Bench) -> None:
    assert mortal.server is not None
    mortal.admin.seal(mortal.topic, 2)
    first, second = mortal.event("1"), mortal.event("2")
    copier = mortal.mirror.copier(mortal.topic, "other")
    copier.copy([Stored(first, 0, "1")], {"0": "1"})
    copier.close()
    mortal.server.kill()
    mortal.server.start()
    later = mortal.mirror.copier(mortal.topic, "other")
    eventually(lambda: mortal.mirror.copied(mortal.topic, "other") == {"0": "1"}, 30)
    later.copy([Stored(second, 0, "2")], {"0": "2"})
    later.close()
    eventually(lambda: [e.event for e in mortal.all()] == [first, second], 30)
    writer = mortal.app.writer("w")
    assert writer.submit(mortal.event("refused")).exception(30).__class__.__name__ == "Fenced"
    writer.close()


def test_a_writer_may_be_opened_ahead_while_its_topics_are_sealed(mortal: Bench) -> None:
    """On a server of its own: Kafka gives a session to who may write any topic, so others would hide a lack."""
    for topic in (mortal.topic, dead_letter_topic(mortal.topic)):
        mortal.admin.seal(topic, 2)
    writer = mortal.app.writer("ahead")
    writer.warm([mortal.topic])
    mortal.admin.unseal(mortal.topic)
    writer.submit(mortal.event("first")).result(10)
    assert [e.event.payload for e in mortal.all() if e.event] == [b"first"]
    writer.close()
