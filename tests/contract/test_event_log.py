"""The contract of an event log, on every backend: writing, sealing, positions, copying."""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import Future

import pytest

from adapters.event_bus.base import Stored
from adapters.event_bus.errors import BusClosed, EventTooLarge, Fenced, UnknownTopic
from adapters.event_bus.kafka_client import KafkaAddress
from adapters.event_bus.kafka_log import KafkaLog
from adapters.event_bus.redis_client import RedisAddress
from adapters.event_bus.redis_streams import RedisLog
from adapters.event_bus.wire import pack
from contracts.envelope import Event
from contracts.names import dead_letter_topic
from tests.contract.bus_servers import KafkaServer, RedisServer
from tests.contract.event_logs import MAX_EVENT_BYTES, POISON, Bench, eventually, note, take


def test_what_is_written_is_stored_untouched(bench: Bench) -> None:
    events = [bench.event(bytes(range(256)), key="Δ"), bench.event(b""), bench.event(b"{}")]
    positions = bench.write_all(events)
    assert len(set(positions)) == 3
    found = bench.all()
    assert sorted((e.event for e in found if e.event), key=lambda e: e.id) == events
    assert all(e.origin is None and not e.error for e in found)


def test_order_within_a_key_is_the_order_of_submission(bench: Bench) -> None:
    writer = bench.app.writer("w")
    sent = [bench.event(str(n), key=f"k{n % 5}") for n in range(2000)]
    futures = [writer.submit(event) for event in sent]
    assert writer.drain(20)
    assert all(future.done() and not future.exception() for future in futures)
    writer.close()
    keys: dict[str, list[int]] = defaultdict(list)
    note(keys, bench.all())
    assert keys == {f"k{k}": list(range(k, 2000, 5)) for k in range(5)}


def test_parcels_keep_the_order_within_a_key_and_name_the_epoch_they_were_written_under(bench: Bench) -> None:
    writer = bench.app.writer("w")
    sent = [bench.event(str(n), key=f"k{n % 5}") for n in range(2000)]
    resolved = [(parcel, writer.submit_all(parcel, 7)) for parcel in pack(bench.settings, sent)]
    positions = [outcome for _, future in resolved for outcome in future.result(20)]
    assert len(set(map(str, positions))) == 2000 and all(isinstance(position, str) for position in positions)
    writer.close()
    keys: dict[str, list[int]] = defaultdict(list)
    note(keys, bench.all())
    assert {entry.event.epoch for entry in bench.all() if entry.event} == {7}
    assert keys == {f"k{k}": list(range(k, 2000, 5)) for k in range(5)}


def test_a_sealed_log_refuses_parcels_and_a_closed_writer_says_so_for_each_event(bench: Bench) -> None:
    writer = bench.app.writer("w")
    parcels = pack(bench.settings, [bench.event(str(n), key=f"k{n % 5}") for n in range(9)])
    bench.admin.seal(bench.topic, 2)
    refused = [outcome for parcel in parcels for outcome in writer.submit_all(parcel, 1).result(20)]
    assert [outcome.__class__ for outcome in refused] == [Fenced] * 9
    writer.close()
    late = [outcome for parcel in parcels for outcome in writer.submit_all(parcel, 1).result(20)]
    assert [outcome.__class__ for outcome in late] == [BusClosed] * 9
    assert bench.all() == []


def test_what_cannot_be_sent_is_refused_at_once(bench: Bench) -> None:
    writer = bench.app.writer("w")
    with pytest.raises(EventTooLarge, match=f"limit is {MAX_EVENT_BYTES}") as caught:
        writer.submit(bench.event(b"x" * MAX_EVENT_BYTES))
    assert caught.value.size > MAX_EVENT_BYTES
    with pytest.raises(UnknownTopic):
        writer.submit(Event.create("elsewhere", "k", b"", source="test"))
    writer.close()
    with pytest.raises(BusClosed):
        writer.submit(bench.event("late"))
    assert bench.all() == []


def test_events_of_the_largest_size_are_taken_many_at_a_time(bench: Bench) -> None:
    room = MAX_EVENT_BYTES - bench.event(b"").size()
    bench.write_all([bench.event(b"x" * room) for _ in range(60)])
    assert [len(e.event.payload) for e in bench.all() if e.event] == [room] * 60


def test_dead_letters_have_a_topic_of_their_own(bench: Bench) -> None:
    letter = Event.create(dead_letter_topic(bench.topic), "k", b"dead", source="test")
    bench.write_all([letter])
    assert bench.all() == []
    aside = dead_letter_topic(bench.topic)
    assert [e.event for e in bench.admin.scan(aside, {}, bench.admin.end(aside))] == [letter]


# -- the seal


def test_a_sealed_log_takes_nothing_and_stands_still(bench: Bench) -> None:
    writer = bench.app.writer("w")
    writer.submit(bench.event("before")).result(10)
    bench.admin.seal(bench.topic, 2)
    bench.admin.seal(bench.topic, 2)
    end = bench.admin.end(bench.topic)
    refused = [writer.submit(bench.event(str(n))) for n in range(3)]
    assert [future.exception(20).__class__ for future in refused] == [Fenced] * 3
    fresh = bench.app.writer("another")
    assert isinstance(fresh.submit(bench.event("new")).exception(20), Fenced)
    assert bench.admin.end(bench.topic) == end
    bench.admin.unseal(bench.topic)
    bench.admin.unseal(bench.topic)
    writer.submit(bench.event("after")).result(10)
    assert [e.event.payload for e in bench.all() if e.event] == [b"before", b"after"]
    writer.close()
    fresh.close()


def test_a_seal_under_load_splits_what_is_stored_from_what_is_refused_in_order(bench: Bench) -> None:
    writer = bench.app.writer("w")
    sent: dict[str, list[tuple[str, Future[str]]]] = defaultdict(list)
    stop = threading.Event()

    def load() -> None:
        number = 0
        while not stop.wait(0.0005):
            number += 1
            event = bench.event(str(number), key=f"k{number % 4}")
            sent[event.key].append((event.id, writer.submit(event)))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        eventually(lambda: sum(f.done() for outcomes in list(sent.values()) for _, f in list(outcomes)) > 200)
        bench.admin.seal(bench.topic, 2)
        end = bench.admin.end(bench.topic)
        sealed = sum(map(len, sent.values()))
        eventually(lambda: sum(map(len, sent.values())) > sealed + 20)
    finally:
        stop.set()
        thread.join()
    assert writer.drain(20)
    assert bench.admin.end(bench.topic) == end
    stored: dict[str, list[str]] = defaultdict(list)
    for entry in bench.all():
        assert entry.event is not None
        stored[entry.event.key].append(entry.event.id)
    for key, outcomes in sent.items():
        kept = [event_id for event_id, future in outcomes if future.exception() is None]
        assert stored[key] == kept == [event_id for event_id, _ in outcomes[: len(kept)]]
        assert all(isinstance(f.exception(), Fenced) for _, f in outcomes[len(kept) :])
    assert sum(map(len, sent.values())) > sum(map(len, stored.values())) > 0
    writer.close()


def test_a_mirror_writes_behind_the_seal(bench: Bench) -> None:
    bench.admin.seal(bench.topic, 2)
    event = bench.event("copied")
    bench.copy(event)
    eventually(lambda: [e.event for e in bench.all()] == [event])
    assert bench.all()[0].origin == "other"


# -- positions


def test_cursors_say_what_lies_before_them(bench: Bench) -> None:
    begin = bench.admin.beginning(bench.topic)
    empty = bench.admin.end(bench.topic)
    assert bench.admin.reached(begin, empty)
    bench.write("a", "b", "c")
    end = bench.admin.end(bench.topic)
    assert not bench.admin.reached(empty, end)
    assert bench.admin.reached(end, empty)
    entries = bench.all()
    middle = bench.admin.after(entries[1])
    assert bench.admin.reached(end, middle)
    assert not bench.admin.reached(middle, bench.admin.after(entries[2]))
    assert [e.event.payload for e in bench.admin.scan(bench.topic, middle, end) if e.event] == [b"c"]
    assert [e.event.payload for e in bench.admin.scan(bench.topic, begin, middle) if e.event] == [b"a", b"b"]


def test_a_group_is_placed_and_moved_but_never_back(bench: Bench) -> None:
    segment = bench.segment()
    bench.write("a", "b", "c")
    end = bench.admin.end(bench.topic)
    middle = bench.admin.after(bench.all()[1])
    sealed = bench.segment(segment.start, end)
    assert bench.admin.groups(bench.topic) == []
    assert not bench.admin.group_finished(bench.topic, "g", sealed)
    bench.app.place_group(bench.topic, "g", middle)
    assert not bench.admin.group_finished(bench.topic, "g", sealed)
    [state] = bench.admin.groups(bench.topic)
    assert (state.group, state.lag) == ("g", 1)
    assert bench.admin.reached(state.position, middle)
    bench.app.place_group(bench.topic, "g", end)
    bench.app.place_group(bench.topic, "g", middle)
    assert bench.app.group_finished(bench.topic, "g", sealed)
    assert not bench.app.group_finished(bench.topic, "g", segment)
    assert bench.admin.groups(bench.topic)[0].lag == 0


def test_ensure_may_be_repeated(bench: Bench) -> None:
    bench.write("a")
    bench.admin.ensure()
    assert len(bench.all()) == 1


# -- copies


def test_copies_keep_what_they_are_and_say_where_they_came_from(bench: Bench) -> None:
    assert bench.admin.copied(bench.topic, "other") is None
    event = bench.event(bytes(range(256)), key="Δ")
    copier = bench.mirror.copier(bench.topic, "other")
    copier.copy([], {"0": "0"})
    poison = Stored(None, 0, "2", raw=POISON, error="unreadable")
    copier.copy([Stored(event, 0, "1"), poison], {"0": "2", "1": "7"})
    eventually(lambda: bench.admin.copied(bench.topic, "other") == {"0": "2", "1": "7"})
    eventually(lambda: len(bench.all()) == 2)
    found = {e.event is None: e for e in bench.all()}
    assert found[False].event == event
    assert found[True].raw == POISON
    assert {e.origin for e in found.values()} == {"other"}
    with pytest.raises(ValueError, match="behind"):
        copier.copy([], {"0": "1", "1": "7"})
    copier.close()
    assert bench.admin.groups(bench.topic) == []


def test_a_newer_copier_shuts_the_older_one_out_and_goes_on_where_it_ended(bench: Bench) -> None:
    first, second = bench.event("1"), bench.event("2")
    older = bench.mirror.copier(bench.topic, "other")
    older.copy([Stored(first, 0, "1")], {"0": "1"})
    newer = bench.mirror.copier(bench.topic, "other")
    assert bench.mirror.copied(bench.topic, "other") == {"0": "1"}
    with pytest.raises(Fenced):
        older.copy([Stored(second, 0, "2")], {"0": "2"})
    older.close()
    newer.copy([Stored(second, 0, "2")], {"0": "2"})
    newer.close()
    eventually(lambda: [e.event for e in bench.all()] == [first, second])
    eventually(lambda: bench.mirror.copied(bench.topic, "other") == {"0": "2"})


def test_what_is_sent_ahead_is_seen_with_the_copy_that_it_is_part_of_and_not_before(bench: Bench) -> None:
    first, second, third = (bench.event(str(n), key="k") for n in range(3))
    copier = bench.mirror.copier(bench.topic, "other")
    copier.copy([], {"0": "0"})
    rest = [*copier.send([Stored(first, 0, "1")]), *copier.send([Stored(second, 0, "2")])]
    assert bench.all() == []
    copier.copy([*rest, Stored(third, 0, "3")], {"0": "3"})
    copier.send([Stored(bench.event("never"), 0, "4")])
    copier.close()  # what was sent ahead of a copy that never came is nowhere
    assert [entry.event for entry in bench.all()] == [first, second, third]
    again = bench.mirror.copier(bench.topic, "other")
    assert bench.mirror.copied(bench.topic, "other") == {"0": "3"}
    again.copy([], {"0": "4"})
    again.close()
    assert len(bench.all()) == 3


def test_a_tail_follows_everything_in_order(bench: Bench) -> None:
    bench.write("0", "1")
    tail = bench.admin.tail(bench.topic, bench.admin.after(bench.all()[0]))
    found: list[Stored] = []

    def come(count: int) -> bool:
        found.extend(tail.poll(100, 0.2))
        return len(found) == count

    eventually(lambda: come(1))
    bench.write("2", "3")
    bench.copy(bench.event("4"))
    eventually(lambda: come(4))
    assert [e.event.payload for e in found if e.event] == [b"1", b"2", b"3", b"4"]
    assert [e.origin for e in found] == [None, None, None, "other"]
    end = bench.admin.end(bench.topic)

    def at_the_end() -> bool:
        return not tail.poll(100, 0.05) and bench.admin.reached(tail.position(), end)

    eventually(at_the_end)
    tail.close()


def test_a_group_reads_what_a_tail_reads(bench: Bench) -> None:
    """The same entry has the same place for all ways of reading."""
    bench.write("a", "b")
    reader = bench.app.reader(bench.topic, "g", "m", bench.segment())
    places = {}
    for _ in range(2):
        entries: list[Stored] = []
        while not entries:
            entries = list(reader.poll(1, 1.0))
        places[entries[0].event] = (entries[0].partition, entries[0].position)
        reader.ack(entries)
    assert places == {e.event: (e.partition, e.position) for e in bench.all()}
    reader.close()


# -- rights


@pytest.mark.contract
def test_a_wrong_password_is_told_as_such(redis_server: RedisServer, kafka_server: KafkaServer) -> None:
    from adapters.event_bus.base import LogSettings
    from adapters.event_bus.errors import AccessDenied

    settings = LogSettings(("t",))
    wrong = "not-the-password"
    redis = RedisLog("redis", settings, RedisAddress(redis_server.url, wrong))
    kafka = KafkaLog("kafka", settings, KafkaAddress(kafka_server.bootstrap, "trading", wrong))
    for log in (redis, kafka):
        with pytest.raises(AccessDenied) as caught:
            log.facts()
        assert wrong not in str(caught.value)
        log.close()


@pytest.mark.contract
def test_services_may_not_lift_a_seal_at_kafka(kafka_server: KafkaServer) -> None:
    from adapters.event_bus.errors import AccessDenied
    from tests.contract.event_logs import KafkaBench

    bench = KafkaBench(kafka_server)
    bench.admin.ensure()
    bench.admin.seal(bench.topic, 2)
    for log in (bench.app, bench.mirror):
        with pytest.raises(AccessDenied):
            log.unseal(bench.topic)
    bench.close()


def test_the_suite_reads_what_it_wrote(bench: Bench) -> None:
    """The bench itself: poison is seen as poison, and a reader hands it out."""
    bench.poison()
    [entry] = bench.all()
    assert (entry.event, entry.raw) == (None, POISON)
    assert entry.error
    reader = bench.app.reader(bench.topic, "g", "m", bench.segment())
    assert take(reader, 1) == [repr(POISON)]
    reader.close()
