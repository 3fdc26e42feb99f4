"""The contract of an audit log, for the fake and the real one."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from adapters.routes.audit import AuditLog, SegmentedLog, Segments
from adapters.routes.base import RouteConflict, RouteError
from contracts.audit import GENESIS, Kind

WRITERS, EACH = 4, 12


class AuditContract:
    """Subclasses give a fixture `segments`, new and empty for each test."""

    @staticmethod
    def log(segments: Segments, limit: int = 700 << 10) -> AuditLog:
        """Another process' view of it."""
        return SegmentedLog(segments, limit=limit, patience=60.0)

    def test_a_log_that_nobody_wrote_is_empty_and_not_broken(self, segments: Segments) -> None:
        log = self.log(segments)
        assert not log.lines()
        assert not list(log.latest())
        assert log.verify() is None

    def test_what_is_appended_is_read_in_order_and_chained(self, segments: Segments) -> None:
        log = self.log(segments)
        made = [log.append(Kind.CONFIG, "event_bus", "ann@desk", {"to": f"stage ü {n}", "n": n}) for n in range(3)]
        assert list(self.log(segments).entries()) == made
        assert [entry.seq for entry in made] == [1, 2, 3]
        assert made[0].previous == GENESIS
        assert all(after.previous == before.hash for before, after in pairwise(made))
        assert list(self.log(segments).latest()) == made[::-1]
        assert log.verify() is None

    def test_what_is_full_is_sealed_and_the_next_begun(self, segments: Segments) -> None:
        made = [self.log(segments, limit=900).append(Kind.HELD, "", "ann", {"detail": "x" * 100}) for _ in range(20)]
        kept = segments.all()
        assert len(kept) >= 5
        assert [one.number for one in kept] == list(range(1, len(kept) + 1))
        assert [one.sealed for one in kept] == [True] * (len(kept) - 1) + [False]
        assert all(len(one.text) <= 900 for one in kept)
        log = self.log(segments, limit=900)
        assert list(log.entries()) == made
        assert list(log.latest()) == made[::-1]
        assert log.verify() is None

    def test_what_is_sealed_is_never_changed(self, segments: Segments) -> None:
        for _ in range(6):
            self.log(segments, limit=900).append(Kind.HELD, "", "ann", {"detail": "x" * 100})
        first = segments.read(1)
        assert first is not None and first.sealed
        with pytest.raises(RouteError):
            segments.replace(first, "", sealed=True)
        assert segments.read(1) == first

    def test_what_was_changed_since_it_was_read_is_not_overwritten(self, segments: Segments) -> None:
        self.log(segments).append(Kind.HELD, "", "ann", {})
        read = segments.read(1)
        assert read is not None and segments.read(2) is None
        self.log(segments).append(Kind.HELD, "", "bob", {})
        with pytest.raises(RouteConflict):
            segments.replace(read, "lost")
        with pytest.raises(RouteConflict):
            segments.create(1, "lost")
        assert [entry.actor for entry in self.log(segments).entries()] == ["ann", "bob"]

    def test_writers_at_once_lose_nothing(self, segments: Segments) -> None:
        logs = [self.log(segments, limit=4000) for _ in range(WRITERS)]
        failed: list[BaseException] = []

        def write(number: int) -> None:
            try:
                for n in range(EACH):
                    logs[number].append(Kind.HELD, "", f"writer {number}", {"n": n})
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        log = self.log(segments)
        assert log.verify() is None
        found = [(entry.actor, entry.data["n"]) for entry in log.entries()]
        assert len(found) == WRITERS * EACH
        for number in range(WRITERS):
            assert [n for actor, n in found if actor == f"writer {number}"] == list(range(EACH))
