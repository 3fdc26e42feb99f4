"""What a Kafka consumer does while the library has no answer: a library that is told what to say stands for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.event_bus import kafka_consumer
from adapters.event_bus.errors import BackendUnavailable
from adapters.event_bus.kafka_client import KafkaAddress, KafkaError, TopicPartition
from adapters.event_bus.kafka_consumer import KafkaConsumer

Happening = Callable[[], Any]


@dataclass
class Library:
    """The library's Consumer. What `next` holds comes by polling, one after the other."""

    config: dict[str, Any] = field(default_factory=dict)
    next: list[Happening] = field(default_factory=list)
    asked: list[list[TopicPartition]] = field(default_factory=list)
    calls: list[tuple[str, list[int]]] = field(default_factory=list)
    unassigned: list[int] = field(default_factory=list)
    callbacks: dict[str, Any] = field(default_factory=dict)
    close: Callable[[], object] = lambda: None

    def poll(self, timeout: float) -> Any:
        """The next happening; what it returns is a message."""
        if not self.next:
            time.sleep(min(timeout, 0.005))
            return None
        return self.next.pop(0)()

    def consume(self, most: int, timeout: float) -> list[Any]:
        return [m for m in (self.poll(0) for _ in range(min(most, len(self.next)))) if m is not None]

    def commit(self, offsets: list[TopicPartition]) -> None:
        self.asked.append(offsets)

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self.callbacks = callbacks

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition("t", partition) for partition in range(3)]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.calls.append(("pause", [p.partition for p in partitions]))

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.calls.append(("resume", [p.partition for p in partitions]))

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self.unassigned += [p.partition for p in partitions]

    def answers(self, number: int = 0, error: KafkaError | None = None) -> Happening:
        """The answer to the commit of that number."""
        return lambda: self.config["on_commit"](error, self.asked[number])


def message(offset: int, partition: int = 0) -> Happening:
    """A message of `partition` at `offset`."""
    found = SimpleNamespace(partition=lambda: partition, offset=lambda: offset, error=lambda: None)
    return lambda: found


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()

    def make(config: dict[str, Any]) -> Library:
        made.config = config
        return made

    monkeypatch.setattr(kafka_consumer, "Consumer", make)
    monkeypatch.setattr(kafka_consumer, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(kafka_consumer, "CLOSE_SECONDS", 0.2)
    return made


@pytest.fixture
def consumer(library: Library) -> KafkaConsumer:
    return KafkaConsumer(KafkaAddress("broker:9092"), "test", "g")


def offsets(consumer: KafkaConsumer, most: int = 10) -> list[int]:
    return [m.offset() or 0 for m in consumer.fetch(most, 0.0)[0]]


def test_what_comes_while_a_commit_is_waited_for_is_handed_out_next(consumer: KafkaConsumer, library: Library) -> None:
    begun = consumer.begin_commit("t", {0: 5})
    library.next = [message(5), message(6), library.answers(), message(7)]
    consumer.committed_by(begun)
    assert offsets(consumer, 1) == [5]
    assert offsets(consumer) == [6, 7]


def test_answers_find_their_commits_in_any_order(consumer: KafkaConsumer, library: Library) -> None:
    first, second = consumer.begin_commit("t", {0: 5}), consumer.begin_commit("t", {0: 6, 1: 2})
    library.next = [library.answers(1), library.answers(0, KafkaError(KafkaError.UNKNOWN_MEMBER_ID))]
    consumer.committed_by(second)
    with pytest.raises(BackendUnavailable, match="UNKNOWN_MEMBER_ID"):
        consumer.committed_by(first)


def test_a_commit_without_an_answer_ends_in_time_and_the_consumer_is_given_up(consumer: KafkaConsumer) -> None:
    with pytest.raises(BackendUnavailable, match="no answer to a commit"):
        consumer.commit("t", {0: 5})
    assert consumer.given_up
    with pytest.raises(BackendUnavailable, match="not waited for"):
        consumer.fetch(1, 0.0)


def test_who_waits_for_a_commit_is_let_go(consumer: KafkaConsumer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_consumer, "ANSWER_SECONDS", 30.0)
    threading.Timer(0.05, consumer.give_up).start()
    began = time.monotonic()
    with pytest.raises(BackendUnavailable):
        consumer.commit("t", {0: 5})
    assert time.monotonic() - began < 5


def test_what_was_fetched_of_a_partition_that_goes_is_not_handed_out(consumer: KafkaConsumer, library: Library) -> None:
    told: dict[str, list[int]] = {}
    consumer.subscribe("t", lambda _: {}, lambda p: told.update(revoked=p), lambda p: told.update(lost=p))

    def goes(how: str, partition: int) -> Happening:
        return lambda: library.callbacks[how](library, [TopicPartition("t", partition)])

    begun = consumer.begin_commit("t", {2: 1})
    library.next = [
        *(message(9, partition) for partition in range(3)),
        goes("on_revoke", 0),
        goes("on_lost", 1),
        library.answers(),
    ]
    consumer.committed_by(begun)
    found, _ = consumer.fetch(10, 0.0)
    assert [m.partition() for m in found] == [2]
    assert told == {"revoked": [0], "lost": [1]}
    assert library.unassigned == [0, 1]


def test_little_is_kept_while_a_commit_has_no_answer(consumer: KafkaConsumer, library: Library) -> None:
    library.next = [message(n) for n in range(1000)]
    with pytest.raises(BackendUnavailable):
        consumer.commit("t", {0: 5})
    assert len(library.next) > 900


def test_no_more_is_kept_than_fits_until_it_is_handed_out(
    consumer: KafkaConsumer, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_consumer, "MOST_READY", 2)
    consumer.pause("t", 1)
    begun = consumer.begin_commit("t", {0: 5})
    library.next = [*(message(n) for n in range(3)), library.answers()]
    consumer.committed_by(begun)
    assert library.calls == [("pause", [1]), ("pause", [0, 1, 2])]
    assert offsets(consumer, 2) == [0, 1]
    assert offsets(consumer, 2) == [2]
    assert offsets(consumer) == []
    assert library.calls[2:] == [("resume", [0, 2])]  # what was paused before stays so


def test_closing_takes_as_long_as_the_library_does(consumer: KafkaConsumer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_consumer, "CLOSE_SECONDS", 30.0)
    began = time.monotonic()
    consumer.close()
    assert time.monotonic() - began < 5


def test_a_library_that_does_not_come_back_from_closing_is_left(consumer: KafkaConsumer, library: Library) -> None:
    never = threading.Event()
    library.close = partial(never.wait, 30)
    began = time.monotonic()
    consumer.close()
    assert 0.1 < time.monotonic() - began < 5
    never.set()
