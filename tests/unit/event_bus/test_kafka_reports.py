"""Reports of a few messages speak for those between them, and never for more than they can know."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from adapters.event_bus.errors import EventBusError, PermanentError, PublishTimeout
from adapters.event_bus.kafka_client import WriteDenied
from adapters.event_bus.kafka_reports import Report, asked_for, settled
from adapters.event_bus.parcels import Positions, all_stored

UNKNOWN = PublishTimeout("no answer")
DENIED = WriteDenied("sealed")


def settle(
    assumed: list[int | None], reports: Mapping[int, Report], unsent: Mapping[int, EventBusError] | None = None
) -> list[str | EventBusError]:
    return list(settled(assumed, reports, unsent or {}, UNKNOWN, WriteDenied))


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1))
def test_what_was_stored_in_the_order_in_which_it_was_sent_is_known_whole(sent: list[tuple[int, bool]]) -> None:
    ends = {partition: 10 * (partition + 1) for partition in range(4)}
    positions, reports = [], {}
    assumed = [partition if known else None for partition, known in sent]
    asked = asked_for(assumed)
    for n, (partition, _) in enumerate(sent):
        positions.append(f"{partition}:{ends[partition]}")
        if n in asked:
            reports[n] = Report(partition, ends[partition])
        ends[partition] += 1
    assert settle(assumed, reports) == positions
    assert {n for n, partition in enumerate(assumed) if partition is None} <= asked


def test_a_gap_between_two_reports_leaves_what_lies_between_unknown() -> None:
    assert settle([0, 0, 0], {0: Report(0, 5), 2: Report(0, 8)}) == ["0:5", UNKNOWN, "0:8"]


def test_a_report_that_never_came_leaves_its_partition_unknown() -> None:
    assert settle([0, 0, 1], {0: Report(0, 5), 2: Report(1, 3)}) == ["0:5", UNKNOWN, "1:3"]


def test_a_refusal_counts_for_all_between_and_an_error_in_part_does_not() -> None:
    denied, failed = Report(0, 0, DENIED), Report(0, 0, PermanentError("no"))
    assert settle([0, 0, 0], {0: denied, 2: denied}) == [DENIED] * 3
    assert settle([0, 0, 0], {0: Report(0, 5), 2: denied}) == ["0:5", DENIED, DENIED]
    assert settle([0, 0, 0], {0: Report(0, 5), 2: failed})[:2] == ["0:5", UNKNOWN]
    assert settle([0, 0, 0], {0: failed, 2: failed}) == [failed.error] * 3


def test_a_key_that_goes_elsewhere_than_it_did_is_believed_only_where_reported() -> None:
    assert settle([0, 0, 0], {0: Report(1, 5), 2: Report(1, 7)}) == ["1:5", UNKNOWN, "1:7"]


def test_what_was_never_sent_is_no_part_of_its_partition() -> None:
    unsent = PermanentError("too large")
    assert settle([0, 0, 0], {0: Report(0, 5), 2: Report(0, 6)}, {1: unsent}) == ["0:5", unsent, "0:6"]


@given(st.lists(st.integers(0, 3), min_size=1), st.lists(st.integers(1, 5)))
def test_positions_in_pieces_are_the_positions(partitions: list[int], lengths: list[int]) -> None:
    whole = Positions(partitions, {p: 10 * p for p in set(partitions)})
    pieces = [list(piece) for piece in whole.parts([*lengths, len(partitions)])]
    assert [place for piece in pieces for place in piece] == list(whole)
    assert all_stored(whole)
