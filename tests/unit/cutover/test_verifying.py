"""What the mirror compares behind the copying: what is noted, what counts, and what a kill leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.event_bus.base import ORIGIN_HEADER
from adapters.event_bus.errors import BackendUnavailable, Fenced
from adapters.event_bus.verified import Verified
from cutover.mirror.copying import resumed
from tests.unit.cutover.mirrored import TOPIC, Mirrored

FORGED = {ORIGIN_HEADER: b"redis"}


def noted(world: Mirrored) -> Verified:
    """What stands in the target."""
    found = world.target.verified(TOPIC, "redis")
    assert found is not None
    return found


def test_what_was_copied_is_compared_and_noted_and_the_next_session_goes_on_there() -> None:
    world = Mirrored()
    world.write("a", "b", "c")
    world.compare(world.session(), world.verifier())
    first = noted(world)
    assert (first.compared, first.by, first.differences) == (3, "mirror-1", "")
    assert first.source == world.source.end(TOPIC) and first.target == world.target.end(TOPIC)
    for server in world.servers.values():
        server.trim(TOPIC, dict.fromkeys(("0", "1"), "9"))
    world.write("d")
    world.compare(world.session(), world.verifier())
    assert (noted(world).compared, noted(world).differences) == (4, "")


def test_nothing_is_noted_anew_where_nothing_was_added() -> None:
    world = Mirrored()
    world.write("a")
    session, verifier = world.session(), world.verifier()
    world.compare(session, verifier)
    world.servers["kafka"].faults.fail_next("note_verified", BackendUnavailable("must not be asked"))
    world.compare(session, verifier)


def test_equality_is_noted_once_it_has_settled_and_a_difference_at_once() -> None:
    world = Mirrored()
    session, verifier = world.session(), world.verifier(settle=45.0)
    world.write("a")
    session.step(0.0)
    verifier.step(replace(session.cut(), taken=0.0))
    while not verifier.step(replace(session.cut(), taken=0.0)):
        pass
    world.seconds = 44.0
    assert verifier.due() is None
    world.seconds = 46.0
    due = verifier.due()
    assert due is not None and due.compared == 1
    world.servers["kafka"].append_raw(TOPIC, 0, FORGED, b"forged")
    cut = replace(session.cut(), taken=46.0)
    while not verifier.step(cut):
        pass
    due = verifier.due()
    assert due is not None and "1 extra" in due.differences and due.compared == 1


@pytest.mark.parametrize("lost", ["copy", "entry"])
def test_a_difference_is_recorded_and_stays(lost: str) -> None:
    world = Mirrored()
    world.write("a", "b")
    session, verifier = world.session(), world.verifier()
    world.compare(session, verifier)
    equal = noted(world)
    world.write("c")
    session.step(0.0)
    server = world.servers["kafka" if lost == "copy" else "redis"]
    partition = next(p for p in server.topics[TOPIC] if p.entries and p.entries[-1].payload == b"c")
    partition.entries[-1].payload = b"altered"
    world.compare(session, verifier)
    found = noted(world)
    assert "1 changed (first: changed" in found.differences
    assert (found.source, found.target, found.compared) == (equal.source, equal.target, 2)
    again = world.verifier()
    assert again.ended, "a mirror that starts anew knows of it"
    world.compare(world.session(), again)
    assert noted(world) == found


@pytest.mark.parametrize("side", ["redis", "kafka"])
def test_what_retention_took_before_it_was_compared_is_no_difference(side: str) -> None:
    world = Mirrored()
    world.write("a", "b")
    session, verifier = world.session(), world.verifier()
    world.compare(session, verifier)
    before = noted(world)
    world.write("c")
    session.step(0.0)
    world.servers[side].trim(TOPIC, dict.fromkeys(("0", "1"), "9"))
    world.compare(session, verifier)
    assert verifier.ended and noted(world) == before


def test_a_session_that_a_newer_one_fenced_notes_nothing() -> None:
    """Its cut may have copies of the newer one before it: what it finds extra would be none."""
    world = Mirrored()
    older, verifier = world.session(), world.verifier()
    older.step(0.0)
    newer = world.session()
    world.write("a")
    newer.step(0.0)
    cut = replace(older.cut(), taken=0.0)
    while not verifier.step(cut):
        pass
    due = verifier.due()
    assert due is not None and "extra" in due.differences
    with pytest.raises(Fenced):
        older.note(due)
    assert world.target.verified(TOPIC, "redis") is None
    world.compare(newer, world.verifier())
    assert (noted(world).compared, noted(world).differences) == (1, "")


def test_killed_before_or_after_a_note_the_next_session_finds_the_same() -> None:
    for after in (False, True):
        world = Mirrored()
        world.write("a", "b")
        world.compare(world.session(), world.verifier())
        world.write("c", "d")
        session, verifier = world.session(), world.verifier()
        if not after:
            world.servers["kafka"].faults.fail_next("note_verified", BackendUnavailable("killed"))
            with pytest.raises(BackendUnavailable):
                world.compare(session, verifier)
            assert noted(world).compared == 2
        world.compare(world.session(), world.verifier())
        assert (noted(world).compared, noted(world).differences) == (4, "")


def test_a_note_of_another_copying_counts_for_nothing() -> None:
    world = Mirrored()
    world.write("a")
    world.compare(world.session(), world.verifier())
    assert resumed(world.copying, world.source, world.target) == noted(world)
    later = replace(world.copying, id="after another switch")
    assert resumed(later, world.source, world.target) is None


@pytest.mark.parametrize("side", ["redis", "kafka"])
def test_a_note_of_more_than_a_log_holds_counts_for_nothing(side: str) -> None:
    """A machine lost power, and with it what was acknowledged: all of it is compared again."""
    world = Mirrored()
    world.write("a", "b", "c")
    session = world.session()
    world.compare(session, world.verifier())
    for partition in world.servers[side].topics[TOPIC]:
        del partition.entries[1:]
    assert resumed(world.copying, world.source, world.target) is None
    if side == "kafka":
        world.compare(world.session(), world.verifier())
        assert "missing" in noted(world).differences


def test_another_version_s_note_counts_for_nothing() -> None:
    world = Mirrored()
    world.servers["kafka"].verified[TOPIC, "redis"] = '{"version": 9}'
    assert world.target.verified(TOPIC, "redis") is None
