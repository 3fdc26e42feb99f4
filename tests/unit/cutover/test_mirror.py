"""A mirror that missed a route does no harm."""

from __future__ import annotations

from tests.unit.cutover.mirrored import TOPIC, Mirrored


def test_it_copies_nothing_that_was_written_under_a_newer_epoch_than_it_knows() -> None:
    """That route may have turned the direction round: it would copy the other mirror's copies back."""
    world = Mirrored()
    session = world.session()
    world.write("known")
    session.step(0.0)
    world.write("newer", epoch=2)
    assert session.step(0.0) == 0
    world.write("after", epoch=2)
    assert session.step(0.0) == 0
    copies = world.target.scan(TOPIC, {}, world.target.end(TOPIC))
    assert [entry.event.payload for entry in copies if entry.event] == [b"known"]
    copied = world.target.copied(TOPIC, "redis")
    assert copied is not None and not world.source.reached(copied, world.source.end(TOPIC))


def test_what_waited_for_a_newer_route_is_copied_once_it_is_known_and_nothing_is_left_out() -> None:
    world = Mirrored()
    session = world.session()
    world.write("newer", epoch=2)
    assert session.step(0.0) == 0
    world.write("after", epoch=2)
    world.epoch = 2
    while session.step(0.0) is not None:
        pass
    copies = world.target.scan(TOPIC, {}, world.target.end(TOPIC))
    assert sorted(entry.event.payload for entry in copies if entry.event) == [b"after", b"newer"]
    assert world.target.copied(TOPIC, "redis") == world.source.end(TOPIC)
