"""What the carrier tells of itself arrives, or is not taken for anything."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping

import pytest

from adapters.routes.base import RouteUnavailable
from adapters.routes.memory import MemoryRegistry
from contracts.registry import LEASE_SECONDS, Bulletin
from contracts.stages import Component
from cutover.carrier import telling
from cutover.carrier.telling import Carried, Telling, read

CARRIED = Carried(behind_seconds=0.25, lag_bytes=10, safe_bytes=None, held=2, error="Conflict: t")


def test_what_was_told_is_read() -> None:
    registry = MemoryRegistry()
    Telling(registry, "pod", lambda: {"hosted": CARRIED}).tell()
    assert read(registry.posted(Component.DATABASE)) == {"hosted": CARRIED}


def test_what_is_old_or_of_another_version_is_not_told() -> None:
    text = CARRIED.model_dump_json()
    assert read([Bulletin("pod", {"hosted": text}, LEASE_SECONDS + 1)]) == {}
    assert read([Bulletin("pod", {"hosted": "{", "selfhosted": text}, 1.0)]) == {"selfhosted": CARRIED}
    newer = text[:-1] + ', "more": 1}'
    assert read([Bulletin("pod", {"hosted": newer}, 1.0)]) == {"hosted": CARRIED}


def test_an_api_server_that_is_away_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    told, tries = threading.Event(), itertools.count()

    class Away(MemoryRegistry):
        def post(self, component: Component, name: str, status: Mapping[str, str]) -> None:
            if next(tries) < 2:
                raise RouteUnavailable("no answer")
            told.set()

    monkeypatch.setattr(telling, "RENEW_SECONDS", 0.01)
    found = Telling(Away(), "pod", dict)
    found.start()
    assert told.wait(5)
    found.stop()
