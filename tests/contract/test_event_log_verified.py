"""The contract of an event log, on every backend: entries as they lie, what was trimmed, and notes of comparisons."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.event_bus.base import ORIGIN_HEADER, LogTail, Record, Stored
from adapters.event_bus.errors import Fenced
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.verified import Verified
from adapters.event_bus.wire import decode
from cutover.mirror.copying import Copying
from cutover.mirror.service import CopySession
from cutover.mirror.verifying import Verifier
from tests.contract.event_logs import POISON, Bench, eventually
from tests.contract.test_event_log_facts import trim

NOTE = Verified("copying", {"0": "3"}, {"0": "3", "1": "0"}, 3, "2026-01-01T00:00:00Z", "mirror-1")


def records(tail: LogTail, count: int) -> list[Record]:
    """The next `count` entries, as they lie."""
    found: list[Record] = []

    def come() -> bool:
        found.extend(tail.poll_records(100, 0.2))
        return len(found) >= count

    eventually(come)
    return found


def test_entries_as_they_lie_are_the_events_that_were_written(bench: Bench) -> None:
    events = [bench.event(bytes(range(256)), key="Δ"), bench.event(b"")]
    bench.write_all(events)
    bench.copy(bench.event("copy"))
    bench.poison()
    tail = bench.admin.tail(bench.topic, bench.admin.beginning(bench.topic))
    found = sorted(records(tail, 4), key=lambda r: (r.partition, r.position))
    stored = sorted(bench.all(), key=lambda e: (e.partition, e.position))
    assert [(r.partition, r.position) for r in found] == [(e.partition, e.position) for e in stored]
    parsed = [decode(bench.topic, *record) for record in found]
    assert [(p.event, p.origin, p.raw) for p in parsed] == [(e.event, e.origin, e.raw) for e in stored]
    assert [r.payload for r in found if ORIGIN_HEADER not in r.headers and not r.headers] == [POISON]
    assert [bench.admin.after(r) for r in found] == [bench.admin.after(e) for e in stored]
    eventually(
        lambda: not tail.poll_records(9, 0.05) and bench.admin.reached(tail.position(), bench.admin.end(bench.topic))
    )
    tail.close()


def test_what_was_trimmed_is_told_by_where_one_stands(bench: Bench) -> None:
    before = bench.admin.beginning(bench.topic)
    bench.write("a", "b", "c", "d")
    assert not bench.admin.trimmed(bench.topic, before)
    places = [bench.admin.after(entry) for entry in bench.all()]
    trim(bench, 2)
    eventually(lambda: bench.admin.trimmed(bench.topic, places[0]))
    assert not bench.admin.trimmed(bench.topic, places[2])
    assert not bench.admin.trimmed(bench.topic, bench.admin.end(bench.topic))


def test_a_note_is_kept_until_the_next_and_says_nothing_of_copies(bench: Bench) -> None:
    assert bench.admin.verified(bench.topic, "other") is None
    copier = bench.mirror.copier(bench.topic, "other")
    copier.copy([Stored(bench.event("a"), 0, "1")], {"0": "1"})
    end = bench.admin.end(bench.topic)
    copier.note_verified(NOTE)
    eventually(lambda: bench.admin.verified(bench.topic, "other") == NOTE)
    newer = replace(NOTE, compared=4, differences="1 extra (first: extra Δ)")
    copier.note_verified(newer)
    eventually(lambda: bench.admin.verified(bench.topic, "other") == newer)
    assert bench.admin.verified(bench.topic, "another") is None
    copier.copy([Stored(bench.event("b"), 0, "2")], {"0": "2"})
    copier.close()
    eventually(lambda: bench.admin.copied(bench.topic, "other") == {"0": "2"})
    eventually(lambda: bench.admin.verified(bench.topic, "other") == newer)
    assert bench.admin.reached(bench.admin.end(bench.topic), end)


def test_only_the_newest_copier_may_note(bench: Bench) -> None:
    older = bench.mirror.copier(bench.topic, "other")
    older.note_verified(NOTE)
    newer = bench.mirror.copier(bench.topic, "other")
    with pytest.raises(Fenced):
        older.note_verified(replace(NOTE, compared=99))
    older.close()
    newer.close()
    eventually(lambda: bench.admin.verified(bench.topic, "other") == NOTE)


@pytest.fixture
def mirrored(bench: Bench) -> tuple[Bench, MemoryLog, Copying]:
    """The bench as the target of a mirror from a log in memory that holds 300 events."""
    source = MemoryLog("other", bench.settings)
    source.ensure()
    start, target_start = source.beginning(bench.topic), bench.admin.end(bench.topic)
    writer = source.writer("w")
    for n in range(300):
        writer.submit(bench.event(str(n), key=f"k{n % 7}"))
    return bench, source, Copying(bench.topic, "other", bench.name, start, False, "it", target_start)


def compared(verifier: Verifier, session: CopySession) -> Verified | None:
    """What is to be noted of all that was copied."""
    while session.step(0.0) is not None:
        pass
    cut = replace(session.cut(), taken=0.0)
    while not verifier.step(cut):
        pass
    return verifier.due()


def test_what_a_mirror_copied_is_found_equal_and_what_was_forged_is_not(
    mirrored: tuple[Bench, MemoryLog, Copying],
) -> None:
    bench, source, copying = mirrored
    session = CopySession(copying, source, bench.mirror, lambda: 1)
    verifier = Verifier(copying, source, bench.mirror, "m", settle=0.0)
    due = compared(verifier, session)
    assert due is not None and (due.compared, due.differences) == (300, "")
    session.note(due)
    verifier.close()
    session.close()
    # Another mirror goes on there; while nobody looked a copy was forged.
    copier = bench.mirror.copier(bench.topic, "other")
    copier.copy([Stored(bench.event("forged"), 0, "999")], source.end(bench.topic))
    copier.close()
    session = CopySession(copying, source, bench.mirror, lambda: 1)
    again = Verifier(copying, source, bench.mirror, "m", settle=0.0)
    due = compared(again, session)
    assert due is not None and "1 extra" in due.differences and due.compared == 300
    again.close()
    session.close()
