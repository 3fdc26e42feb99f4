"""The contract of an event log, on every backend: consumer groups."""

from __future__ import annotations

import time
from collections import defaultdict

import pytest

from adapters.event_bus import kafka_consumer
from adapters.event_bus.base import LogReader, Stored
from adapters.event_bus.errors import BusClosed
from contracts.routes import Segment
from tests.contract.event_logs import Bench, eventually, finishes, note, nothing, take


def test_what_was_acknowledged_never_comes_again_and_the_rest_does(bench: Bench) -> None:
    bench.write(*"abcde")
    segment = bench.segment()
    reader = bench.app.reader(bench.topic, "g", "m", segment)
    assert take(reader, 2) == ["a", "b"]
    assert take(reader, 2, ack=False) == ["c", "d"]
    reader.close()
    with pytest.raises(BusClosed):
        reader.poll(1, 0.1)
    again = bench.app.reader(bench.topic, "g", "m", segment)
    assert take(again, 3) == ["c", "d", "e"]
    assert nothing(again)
    again.close()
    assert bench.admin.groups(bench.topic)[0].lag == 0


def test_groups_know_nothing_of_each_other(bench: Bench) -> None:
    bench.write("a", "b")
    for group in ("g", "h"):
        reader = bench.app.reader(bench.topic, group, "m", bench.segment())
        assert take(reader, 2) == ["a", "b"]
        reader.close()


def test_events_are_delivered_as_they_come(bench: Bench) -> None:
    reader = bench.app.reader(bench.topic, "g", "m", bench.segment())
    assert nothing(reader, 0.2)
    for payload in "abc":
        bench.write(payload)
        assert take(reader, 1) == [payload]
    reader.close()


def test_order_within_a_key_holds_across_polls(bench: Bench) -> None:
    bench.write_all([bench.event(str(n), key=f"k{n % 5}") for n in range(500)])
    reader = bench.app.reader(bench.topic, "g", "m", bench.segment())
    keys: dict[int, list[int]] = defaultdict(list)
    for payload in take(reader, 500):
        keys[int(payload) % 5].append(int(payload))
    assert keys == {k: list(range(k, 500, 5)) for k in range(5)}
    reader.close()


def test_a_group_starts_at_the_segment_and_one_before_it_is_moved_there(bench: Bench) -> None:
    bench.write("old")
    start = bench.admin.end(bench.topic)
    bench.app.place_group(bench.topic, "behind", bench.admin.beginning(bench.topic))
    bench.write("new")
    for group in ("fresh", "behind"):
        reader = bench.app.reader(bench.topic, group, "m", bench.segment(start))
        assert take(reader, 1) == ["new"]
        assert nothing(reader, 0.3)
        reader.close()
        [state] = [s for s in bench.admin.groups(bench.topic) if s.group == group]
        assert bench.admin.reached(state.position, bench.admin.end(bench.topic))


def test_nothing_beyond_the_end_of_a_segment_is_delivered(bench: Bench) -> None:
    start = bench.admin.beginning(bench.topic)
    bench.write("a", "b")
    end = bench.admin.end(bench.topic)
    bench.write("beyond")
    segment = bench.segment(start, end)
    reader = bench.app.reader(bench.topic, "g", "m", segment)
    assert not bench.admin.group_finished(bench.topic, "g", segment)
    assert take(reader, 1) == ["a"]
    assert not reader.finished()
    assert take(reader, 1, ack=False) == ["b"]
    assert not reader.finished()
    reader.close()
    again = bench.app.reader(bench.topic, "g", "m", segment)
    assert take(again, 1) == ["b"]
    finishes(again)
    again.close()
    assert bench.admin.group_finished(bench.topic, "g", segment)
    following = bench.app.reader(bench.topic, "g", "m", bench.segment(end, epoch=2))
    assert take(following, 1) == ["beyond"]
    following.close()


def test_a_segment_may_be_sealed_while_it_is_read(bench: Bench) -> None:
    bench.write("a", "b")
    reader = bench.app.reader(bench.topic, "g", "m", bench.segment())
    assert take(reader, 1) == ["a"]
    assert not reader.finished()
    end = bench.admin.end(bench.topic)
    reader.seal_at(end)
    bench.write("beyond")
    assert take(reader, 1) == ["b"]
    finishes(reader)
    reader.close()


def test_an_empty_segment_is_finished_at_once_and_that_is_known(bench: Bench) -> None:
    for start in (bench.admin.beginning(bench.topic), None):
        began = bench.admin.end(bench.topic) if start is None else start
        segment = bench.segment(began, bench.admin.end(bench.topic))
        reader = bench.app.reader(bench.topic, "g", "m", segment)
        finishes(reader)
        reader.close()
        assert bench.admin.group_finished(bench.topic, "g", segment)
        bench.write("a", "b", "c", key="other")


@pytest.mark.parametrize("copies", [False, True])
def test_copies_are_passed_over_unless_they_count(bench: Bench, copies: bool) -> None:
    start = bench.admin.beginning(bench.topic)
    bench.write("own")
    bench.copy(*(bench.event(str(n)) for n in range(5)))
    eventually(lambda: len(bench.all()) == 6)
    segment = bench.segment(start, bench.admin.end(bench.topic), copies=copies)
    reader = bench.app.reader(bench.topic, "g", "m", segment)
    wanted = ["own", *map(str, range(5))] if copies else ["own"]
    assert take(reader, len(wanted)) == wanted
    finishes(reader)
    reader.close()
    assert bench.admin.group_finished(bench.topic, "g", segment)
    assert bench.admin.groups(bench.topic)[0].lag == 0


def test_copies_alone_finish_a_segment(bench: Bench) -> None:
    start = bench.admin.beginning(bench.topic)
    bench.copy(*(bench.event(str(n), key=f"k{n}") for n in range(20)))
    eventually(lambda: len(bench.all()) == 20)
    segment = bench.segment(start, bench.admin.end(bench.topic))
    reader = bench.app.reader(bench.topic, "g", "m", segment)
    finishes(reader)
    reader.close()
    assert bench.admin.group_finished(bench.topic, "g", segment)


def test_a_member_that_leaves_hands_over_at_once(bench: Bench) -> None:
    bench.write_all([bench.event(str(n), key=f"k{n % 6}") for n in range(60)])
    segment = bench.segment()
    first = bench.app.reader(bench.topic, "g", "one", segment)
    found = take(first, 20)
    second = bench.app.reader(bench.topic, "g", "two", segment)
    second.poll(1, 0.0)  # it is there, waiting or sharing
    first.close()
    found += take(second, 40)
    assert sorted(map(int, found)) == list(range(60))
    second.close()


def test_two_members_share_without_doubling_and_in_order(bench: Bench) -> None:
    segment = bench.segment()
    bench.write_all([bench.event(str(n), key=f"k{n % 6}") for n in range(60)])
    readers = [bench.app.reader(bench.topic, "g", f"m{n}", segment) for n in range(2)]
    keys: dict[str, list[int]] = defaultdict(list)

    def work() -> bool:
        for reader in readers:
            entries = reader.poll(7, 0.05)
            note(keys, entries)
            reader.ack(entries)
        return sum(map(len, keys.values())) >= 120

    eventually(lambda: work() or sum(map(len, keys.values())) >= 60, 20)
    bench.write_all([bench.event(str(n), key=f"k{n % 6}") for n in range(60, 120)])
    eventually(work, 20)
    assert dict(keys) == {f"k{k}": list(range(k, 120, 6)) for k in range(6)}
    for reader in readers:
        reader.close()


def test_members_that_come_and_go_take_each_event_once_and_in_order(bench: Bench) -> None:
    """Each leaves with its last acknowledgement begun and not waited for; the others are in the midst of theirs."""
    segment = bench.segment()
    keys: dict[str, list[int]] = defaultdict(list)
    sent = 0

    def read(reader: LogReader) -> None:
        entries = reader.poll(5, 0.05)
        reader.settle()
        note(keys, entries)
        reader.begin_ack(entries)

    readers = [bench.app.reader(bench.topic, "g", "m0", segment)]
    for number in range(1, 5):
        bench.write_all([bench.event(str(n), key=f"k{n % 6}") for n in range(sent, sent + 60)])
        sent += 60
        readers.append(bench.app.reader(bench.topic, "g", f"m{number}", segment))
        for _ in range(6):
            for reader in readers:
                read(reader)
        readers.pop(0).close()

    def all_taken() -> bool:
        for reader in readers:
            read(reader)
        return sum(map(len, keys.values())) >= sent

    eventually(all_taken, 30)
    for reader in readers:
        reader.close()
    assert dict(keys) == {f"k{k}": list(range(k, sent, 6)) for k in range(6)}
    [state] = bench.admin.groups(bench.topic)
    assert state.lag == 0


def test_who_takes_one_at_a_time_of_many_is_given_each_once_and_in_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while acknowledgements are waited for is kept; beyond a few, Kafka is told to pause."""
    monkeypatch.setattr(kafka_consumer, "MOST_READY", 5)
    bench.write_all([bench.event(str(n), key=f"k{n % 6}") for n in range(150)])
    reader = bench.app.reader(bench.topic, "g", "m", bench.segment())
    keys: dict[str, list[int]] = defaultdict(list)
    deadline = time.monotonic() + 60
    while sum(map(len, keys.values())) < 150:
        assert time.monotonic() < deadline
        entries = reader.poll(1, 0.5)
        note(keys, entries)
        reader.begin_ack(entries)
    reader.close()
    assert dict(keys) == {f"k{k}": list(range(k, 150, 6)) for k in range(6)}
    assert bench.admin.groups(bench.topic)[0].lag == 0


def test_a_killed_members_events_come_again_before_anything_newer_of_their_keys(bench: Bench) -> None:
    bench.write(*"abcdef")
    assert bench.killed_member("g", 3) == list("abc")
    reader = bench.app.reader(bench.topic, "g", "next", bench.segment())
    assert take(reader, 6, seconds=20) == list("abcdef")
    reader.close()


def test_an_acknowledgement_that_comes_too_late_loses_nothing(bench: Bench) -> None:
    """A member acknowledges what another was given meanwhile: at worst it is delivered again, never less."""
    bench.write("a", "b")
    segment: Segment = bench.segment()
    first = bench.app.reader(bench.topic, "g", "one", segment)
    held: list[Stored] = []
    while not held:
        held = list(first.poll(1, 1.0))
    first.close()
    second = bench.app.reader(bench.topic, "g", "two", segment)
    assert take(second, 2) == ["a", "b"]
    assert nothing(second, 0.3)
    second.close()
    assert bench.admin.groups(bench.topic)[0].lag == 0
