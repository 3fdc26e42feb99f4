"""What the gate lets through."""

from __future__ import annotations

import threading

from adapters.postgres.gate import Gate
from contracts.routes import Mirror
from cutover.positions import content_from


def test_it_begins_closed_and_lets_through_what_was_committed_at_its_place_or_later() -> None:
    gate = Gate()
    assert not gate.allows(2**63)
    gate.set(100)
    assert [gate.allows(commit) for commit in (99, 100, 101)] == [False, True, True]
    gate.set(None)
    assert not gate.allows(101)


def test_who_waits_is_woken() -> None:
    gate = Gate()
    waiting = threading.Thread(target=gate.wait, args=(30.0,))
    waiting.start()
    while waiting.is_alive():
        gate.set(1)
        waiting.join(0.01)


def test_content_comes_from_the_side_that_the_route_names_only() -> None:
    mirror = Mirror(source="hosted", target="selfhosted", starts={"wal": {"lsn": "1/0"}}, target_starts={})
    assert content_from(mirror, "hosted") == 1 << 32
    assert content_from(mirror, "selfhosted") is None
    assert content_from(None, "hosted") is None
    assert content_from(mirror.model_copy(update={"starts": {}}), "hosted") is None
