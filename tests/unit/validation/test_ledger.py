"""The comparison: one event removed, doubled, swapped or changed is found, and nothing else is."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.validation.runs import LATENCY, START, STEP, Run, delivery
from validation.ledger import GroupFindings, SentIndex, Window, examine_group, examine_publishing, longest_gap, match
from validation.ledger_file import REFUSED, UNKNOWN, UnreadableLedger

COUNTERS = ("lost", "doubled", "reordered", "changed", "foreign", "others_doubled")


def examined(run: Run, group: str = "a", window: Window | None = None) -> GroupFindings:
    index = SentIndex(run.sent_records())
    return examine_group(index, match(index, group, run.taken_records(group)), window)


def counts(findings: GroupFindings) -> dict[str, int]:
    """The counters that are not zero."""
    return {name: getattr(findings, name) for name in COUNTERS if getattr(findings, name)}


def test_a_clean_run_has_no_findings() -> None:
    for group in ("a", "b", "c"):
        findings = examined(Run(), group)
        assert counts(findings) == {}
        assert findings.delivered == 80
        assert not findings.examples


def remove_one(run: Run) -> None:
    del run.taken["a"][17]


def double_one(run: Run) -> None:
    run.taken["a"].insert(40, replace(run.taken["a"][17]))


def swap_two(run: Run) -> None:
    taken = run.taken["a"]
    taken[17], taken[25] = taken[25], taken[17]  # neighbours within one of 8 keys


def flip_a_byte(run: Run) -> None:
    payload = bytearray(run.taken["a"][17].payload)
    payload[3] ^= 1
    run.taken["a"][17].payload = bytes(payload)


def change_the_key(run: Run) -> None:
    run.taken["a"][17].key = "K9"


def invent_one(run: Run) -> None:
    run.taken["a"].append(replace(run.taken["a"][17], id=uuid.UUID(int=3).bytes))


@pytest.mark.parametrize(
    ("spoil", "counter"),
    [
        (remove_one, "lost"),
        (double_one, "doubled"),
        (swap_two, "reordered"),
        (flip_a_byte, "changed"),
        (change_the_key, "changed"),
        (invent_one, "foreign"),
    ],
)
def test_one_thing_wrong_is_counted_once_and_named(spoil: Callable[[Run], None], counter: str) -> None:
    run = Run()
    spoil(run)
    findings = examined(run)
    assert counts(findings) == {counter: 1}
    if counter in ("lost", "doubled", "changed"):
        assert findings.examples[counter] == (str(uuid.UUID(bytes=run.sent[17].id)),)
    assert counts(examined(run, "b")) == {}


def test_a_swap_across_keys_is_no_reordering() -> None:
    run = Run()
    taken = run.taken["a"]
    taken[16], taken[17] = taken[17], taken[16]
    assert counts(examined(run)) == {}


def test_a_second_delivery_out_of_order_is_doubled_and_not_reordered() -> None:
    run = Run()
    run.taken["a"].append(replace(run.taken["a"][0]))
    assert counts(examined(run)) == {"doubled": 1}


def test_an_unknown_outcome_may_be_there_once_or_not_at_all_but_not_twice() -> None:
    run = Run()
    for number in (9, 17, 33):
        run.sent[number].outcome = UNKNOWN
    twice = run.taken["a"][33]
    late = run.taken["a"].pop(9)
    run.taken["a"] = [event for event in run.taken["a"] if event.id != run.sent[17].id] + [twice, late]
    assert counts(examined(run)) == {"doubled": 1}


def test_what_was_refused_as_not_stored_and_came_all_the_same_is_foreign() -> None:
    run = Run()
    run.sent[17].outcome = REFUSED
    assert counts(examined(run)) == {"foreign": 1}
    del run.taken["a"][17]
    assert counts(examined(run)) == {}


def test_events_of_other_publishers_are_counted_and_must_not_come_twice() -> None:
    run = Run()
    other = replace(run.taken["a"][3], id=uuid.UUID(int=5).bytes, ours=False)
    run.taken["a"].insert(10, other)
    assert (examined(run).others, counts(examined(run))) == (1, {})
    run.taken["a"].append(replace(other))
    assert counts(examined(run)) == {"others_doubled": 1}


def test_nothing_delivered_at_all_is_all_lost() -> None:
    run = Run()
    run.taken["a"] = []
    assert counts(examined(run)) == {"lost": 80}


def test_an_id_published_twice_makes_the_ledger_unreadable() -> None:
    run = Run()
    run.sent[3].id = run.sent[4].id
    with pytest.raises(UnreadableLedger, match="twice"):
        SentIndex(run.sent_records())


def test_a_window_holds_what_was_due_in_it_wherever_it_was_delivered() -> None:
    run = Run()
    lost_early, lost_late = run.sent[5].id, run.sent[60].id
    run.taken["a"] = [event for event in run.taken["a"] if event.id not in (lost_early, lost_late)]
    middle = START + 40 * STEP
    assert counts(examined(run, window=Window(START, middle))) == {"lost": 1}
    assert counts(examined(run, window=Window(middle, START + 80 * STEP))) == {"lost": 1}
    assert counts(examined(run, window=Window(START + 10 * STEP, START + 50 * STEP))) == {}
    assert examined(run, window=Window(START + 10 * STEP, START + 50 * STEP)).delivered == 40


def test_a_stall_in_publishing_shows_as_gap_and_as_latency_of_what_was_due_meanwhile() -> None:
    run = Run(count=1000)
    records = run.sent_records().copy()
    stalled = (records["due"] >= START + 300 * STEP) & (records["due"] < START + 500 * STEP)
    records["acked"][stalled] = START + 500 * STEP + LATENCY
    findings = examine_publishing(SentIndex(records))
    assert findings.latency_ms_max == pytest.approx(202)
    assert findings.gap_ms == pytest.approx(201)
    assert findings.stall_ms == pytest.approx(202)
    assert (findings.latency_ms_p50, findings.acknowledged, round(findings.rate)) == (2.0, 1000, 1001)
    quiet = examine_publishing(SentIndex(records), Window(START, START + 290 * STEP))
    assert quiet.stall_ms == pytest.approx(2)


def test_a_stall_in_consuming_shows_as_gap_and_as_lag() -> None:
    run = Run(count=1000)
    for event in run.taken["a"][300:500]:
        event.time = START + 500 * STEP
    findings = examined(run)
    assert findings.gap_ms == pytest.approx(198)  # from 299 + 3 ms to 500
    assert findings.lag_ms_max == pytest.approx(198)
    assert examined(run, "b").stall_ms == pytest.approx(3)


def test_a_gap_reaches_to_the_edges_of_the_window() -> None:
    times = np.array([50, 60], dtype=np.int64)
    assert longest_gap(times, Window(0, 100)) == 50
    assert longest_gap(times, Window(55, 200)) == 140
    assert longest_gap(times, Window(70, 100)) == 30


@given(data=st.data(), count=st.integers(1, 120), keys=st.integers(1, 9))
def test_any_set_of_faults_is_found_whole(data: st.DataObject, count: int, keys: int) -> None:
    run = Run(count=count, keys=keys, groups=("a",))
    numbers = st.integers(0, count - 1)
    lost = data.draw(st.sets(numbers), label="lost")
    doubled = data.draw(st.sets(numbers), label="doubled") - lost
    changed = data.draw(st.sets(numbers), label="changed") - lost - doubled
    foreign = data.draw(st.integers(0, 4), label="foreign")
    taken = []
    for event in run.sent:
        if event.number in lost:
            continue
        entry = delivery(event)
        if event.number in changed:
            entry.payload += b"!"
        taken.append(entry)
        if event.number in doubled:
            taken.insert(data.draw(st.integers(0, len(taken)), label="at"), replace(entry))
    ghosts = [replace(delivery(run.sent[0]), id=uuid.uuid4().bytes) for _ in range(foreign)]
    run.taken["a"] = taken + ghosts
    found = counts(examined(run))
    reordered = found.pop("reordered", 0)
    expected = {"lost": len(lost), "doubled": len(doubled), "changed": len(changed), "foreign": foreign}
    assert found == {name: number for name, number in expected.items() if number}
    assert reordered == _late(run)


@given(order=st.permutations(list(range(24))), keys=st.integers(1, 5))
def test_any_order_of_delivery_is_judged_key_by_key(order: list[int], keys: int) -> None:
    run = Run(count=24, keys=keys, groups=("a",))
    run.taken["a"] = [delivery(run.sent[number]) for number in order]
    late = _late(run)
    assert counts(examined(run)) == ({"reordered": late} if late else {})


def _late(run: Run) -> int:
    """The plain way to count: event by event."""
    highest: dict[str, int] = {}
    seen: set[bytes] = set()
    own = {event.id for event in run.sent}
    late = 0
    for event in run.taken["a"]:
        if event.id in seen or event.id not in own:
            continue
        seen.add(event.id)
        late += event.sequence < highest.get(event.key, -1)
        highest[event.key] = max(highest.get(event.key, -1), event.sequence)
    return late


def test_a_million_events_are_compared_in_seconds() -> None:
    count = 1_000_000
    run = Run(count=1)
    sent = np.repeat(run.sent_records(), count)
    numbers = np.arange(count)
    sent["id"] = np.frombuffer(
        np.random.default_rng(1).bytes(16 * count), dtype="S16"
    )  # random ids: the worst case for sorting
    sent["sequence"], sent["due"] = numbers, START + numbers * STEP
    sent["acked"] = sent["due"] + LATENCY
    taken = np.repeat(run.taken_records("a"), count)
    for name in ("id", "sequence", "sha256"):
        taken[name] = sent[name]
    taken["time"] = sent["acked"]
    taken = np.delete(taken, [123_456])
    index = SentIndex(sent)
    findings = examine_group(index, match(index, "a", taken))
    assert counts(findings) == {"lost": 1}
    assert findings.delivered == count - 1
