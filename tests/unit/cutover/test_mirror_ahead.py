"""Reading ahead: every entry once, in order, with the place after it; and the tail's error where it ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.event_bus.base import LogTail, Stored
from adapters.event_bus.errors import BackendUnavailable
from contracts.routes import Cursor
from cutover.mirror.ahead import ReadAhead


class Batches(LogTail):
    """Has `count` batches of one entry each, then fails."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.at = 0
        self.closed = False

    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        if self.at == self.count:
            raise BackendUnavailable("gone")
        self.at += 1
        return [Stored(event=None, partition=0, position=str(self.at - 1))]

    def position(self) -> Cursor:
        return {"0": str(self.at)}

    def close(self) -> None:
        self.closed = True


def test_each_entry_comes_once_with_the_place_after_it_then_the_error() -> None:
    tail = Batches(20)
    ahead = ReadAhead(tail, 3)
    assert ahead.position() == {"0": "0"}
    found: list[str] = []
    while len(found) < 20:
        entries = ahead.poll(1, 10.0)
        assert 1 <= len(entries) <= 3  # of one each, `enough` lie ready
        found += [entry.position for entry in entries]
        assert ahead.position() == {"0": str(len(found))}
    assert found == [str(number) for number in range(20)]
    with pytest.raises(BackendUnavailable, match="gone"):
        ahead.poll(1, 10.0)
    ahead.close()
    assert tail.closed


def test_no_more_is_read_than_is_taken_and_it_can_be_closed_meanwhile() -> None:
    tail = Batches(1000)
    ahead = ReadAhead(tail, 3)
    ahead.poll(1, 10.0)
    ahead.close()
    assert tail.closed and tail.at <= 6
