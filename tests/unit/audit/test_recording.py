"""What is noted is appended aside: in order, once, and at nobody's expense."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.routes.audit import MemoryAudit
from adapters.routes.base import RouteUnavailable
from adapters.routes.recording import Noted, Recorder
from contracts.audit import Entry, Kind
from contracts.stages import Component

BUS = Component.EVENT_BUS


class Away(MemoryAudit):
    """A log that fails for the first `fails` appends, `written` nevertheless or not, and hangs while `hangs`."""

    def __init__(self, fails: int = 0, *, written: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.written = written
        self.hangs = threading.Event()
        self.hangs.set()

    def append(self, kind: Kind | str, component: str, actor: str, data: Mapping[str, Any]) -> Entry:
        self.hangs.wait()
        if self.fails == 0:
            return super().append(kind, component, actor, data)
        self.fails -= 1
        if self.written:
            super().append(kind, component, actor, data)
        raise RouteUnavailable("it is away")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.routes.recording._PAUSE_SECONDS", 0.01)


def test_notes_are_appended_in_order_with_who_and_when() -> None:
    log = MemoryAudit()
    recorder = Recorder(lambda: log, "Job x", {"owner": "stack"})
    for number in range(20):
        recorder.note(Kind.BEGUN, BUS, {"n": number})
    recorder.note(Kind.HELD, None, {"at": "2026-01-01T00:00:00.000Z"})
    assert recorder.close() == () and recorder.complete
    *begun, held = log.entries()
    assert [(entry.kind, entry.component, entry.actor, entry.data["n"]) for entry in begun] == [
        ("transition begun", "event_bus", "Job x", number) for number in range(20)
    ]
    assert all(entry.data["owner"] == "stack" and entry.data["at"].endswith("Z") for entry in begun)
    assert (held.component, held.happened) == ("", "2026-01-01T00:00:00.000Z")


@pytest.mark.parametrize("written", [False, True])
def test_what_fails_is_tried_anew_and_there_once(written: bool) -> None:
    log = Away(3, written=written)
    recorder = Recorder(lambda: log, "Job x")
    recorder.note(Kind.BEGUN, BUS, {"n": 1})
    recorder.note(Kind.ENDED, BUS, {"n": 2})
    assert recorder.close() == ()
    assert [entry.data["n"] for entry in log.entries()] == [1, 2]


def test_a_log_that_hangs_costs_its_bound_and_no_more() -> None:
    log = Away()
    log.hangs.clear()
    recorder = Recorder(lambda: log, "Job x")
    began = time.monotonic()
    recorder.note(Kind.BEGUN, BUS, {"n": 1})
    recorder.note(Kind.ENDED, BUS, {"n": 2})
    assert time.monotonic() - began < 1
    left = recorder.close(0.2)
    assert time.monotonic() - began < 5
    assert [one.data["n"] for one in left] == [1, 2]
    assert not recorder.complete and "took longer than 0.2 s" in recorder.trouble
    log.hangs.set()


def test_a_log_that_cannot_be_opened_is_told() -> None:
    def opened() -> MemoryAudit:
        raise RouteUnavailable("no Kubernetes access")

    recorder = Recorder(opened, "ann")
    recorder.note(Kind.CONFIG, BUS, {})
    assert [one.kind for one in recorder.close(0.1)] == ["config changed"]
    assert recorder.trouble == "no Kubernetes access"


def test_a_defect_in_one_note_keeps_no_other_back() -> None:
    log = MemoryAudit()
    recorder = Recorder(lambda: log, "ann")

    def lacking(_: object) -> list[Noted]:
        raise ZeroDivisionError("a defect")

    recorder.add(lacking)
    recorder.note(Kind.HELD, None, {})
    assert recorder.close() == ()
    assert not recorder.complete and recorder.trouble == "ZeroDivisionError: a defect"
    assert [entry.kind for entry in log.entries()] == ["held back"]


def test_without_a_log_nothing_is_done_at_all() -> None:
    before = threading.active_count()
    recorder = Recorder()
    recorder.note(Kind.HELD, None, {})
    assert threading.active_count() == before
    assert recorder.close() == () and recorder.complete
