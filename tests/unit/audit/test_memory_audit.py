"""The in-memory audit log keeps the contract; an append that is cut off anywhere leaves a log that goes on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.routes.audit import AuditUnreadable, MemorySegments, Segment, SegmentedLog, Segments
from adapters.routes.base import RouteUnavailable
from contracts.audit import Kind
from tests.contract.audit_contract import AuditContract


class TestMemoryAudit(AuditContract):
    @pytest.fixture
    def segments(self) -> Segments:
        return MemorySegments()


class Cut(Segments):
    """Others' segments, whose connection is cut before or after some of its calls."""

    def __init__(self, behind: Segments) -> None:
        self._behind = behind
        self.calls = 0
        self.before: int | None = None
        self.after: int | None = None

    def _called(self) -> None:
        self.calls += 1
        if self.calls == self.before:
            raise RouteUnavailable("cut before")

    def _done(self) -> None:
        if self.calls == self.after:
            raise RouteUnavailable("cut after")

    def read(self, number: int) -> Segment | None:
        self._called()
        found = self._behind.read(number)
        self._done()
        return found

    def create(self, number: int, text: str) -> None:
        self._called()
        self._behind.create(number, text)
        self._done()

    def replace(self, segment: Segment, text: str, *, sealed: bool = False) -> None:
        self._called()
        self._behind.replace(segment, text, sealed=sealed)
        self._done()

    def all(self) -> Sequence[Segment]:
        return self._behind.all()


_APPENDS = st.tuples(st.integers(0, 2), st.sampled_from(["", "before", "after"]), st.integers(1, 6))


@given(st.lists(_APPENDS, max_size=40), st.integers(400, 1500))
def test_an_append_that_is_cut_off_anywhere_is_there_whole_or_not_and_the_next_goes_on(
    appends: list[tuple[int, str, int]], limit: int
) -> None:
    behind = MemorySegments()
    writers = [Cut(behind) for _ in range(3)]
    logs = [SegmentedLog(writer, limit=limit) for writer in writers]
    certain, doubtful = [], []
    for number, (which, cut, call) in enumerate(appends):
        writer = writers[which]
        at = writer.calls + call
        writer.before, writer.after = (at if cut == "before" else None), (at if cut == "after" else None)
        try:
            logs[which].append(Kind.HELD, "", f"writer {which}", {"n": number})
            certain.append(number)
        except RouteUnavailable:
            doubtful.append(number)
        writer.before = writer.after = None
    log = SegmentedLog(behind, limit=limit)
    log.append(Kind.HELD, "", "last", {"n": len(appends)})
    assert log.verify() is None
    found = [entry.data["n"] for entry in log.entries()]
    assert found == sorted(set(found))
    assert set(certain) <= set(found) <= {*certain, *doubtful, len(appends)}
    assert [one.sealed for one in behind.all()] == [True] * (len(behind.all()) - 1) + [False]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 9, 30])
def test_the_last_segment_is_found_by_few_questions(count: int) -> None:
    behind = MemorySegments()
    for number in range(1, count + 1):
        behind.create(number, "")
    segment = behind.read(count)
    assert segment is not None
    log = SegmentedLog(MemorySegments())
    entry = log.append(Kind.HELD, "", "ann", {})
    behind.replace(segment, f"{entry.line}\n")
    counted = Cut(behind)
    assert SegmentedLog(counted).append(Kind.HELD, "", "bob", {}).seq == 2
    assert counted.calls <= 14


def test_nothing_is_appended_behind_what_cannot_be_read() -> None:
    segments = MemorySegments()
    segments.create(1, "{}\n")
    with pytest.raises(AuditUnreadable, match="crossover-audit-000001 holds an entry that cannot be read"):
        SegmentedLog(segments).append(Kind.HELD, "", "ann", {})
    assert str(SegmentedLog(segments).verify()).startswith("entry 1 (crossover-audit-000001): it cannot be read")
