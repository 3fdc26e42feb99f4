"""The end of a schedule: all heals, a run converges, and then the invariants are demanded of what is there."""

from __future__ import annotations

from contracts.stages import Stage
from tests.model.ledger import demand
from tests.model.wire import TOPIC
from tests.model.world import World

REST_ROUNDS = 4
"""In one a member leaves a backend, in the next it reads in the other."""


def settle(world: World, wanted: Stage) -> None:
    """Heal, converge, drain; then all that was acknowledged has had its effect in every group."""
    _heal(world)
    if world.forged:
        world.run(world.route.stage)  # nothing can be switched; what was cut off is undone
    else:
        _converge(world, wanted)
    _quiesce(world)
    demand(not any(pod.waiting for pod in world.pods), "what is held is sent in the end", world.lines[-5:])
    for group in world.ledger.groups.values():
        world.ledger.complete(group)
    world.ledger.read_by(world.content(world.route), "a group that begins now")
    if world.route.mirror is not None and not world.forged:
        world.ledger.read_by(world.all_of(world.route.mirror.target), "the side that is kept in step")


def _heal(world: World) -> None:
    """Whatever was wrong is over."""
    world.revive()
    for actor in world.actors:
        actor.deaf = actor.frozen = False
    for pod in world.pods:
        pod.gone = pod.slow = False
        world.registry.pods.add(pod.name)
    world.seconds += 60.0
    for pod in world.pods:
        pod.heartbeat()


def _converge(world: World, wanted: Stage) -> None:
    """What a user does: `pulumi up`, again where it did not reach the stage; not before groups that are far behind
    have caught up, for that is what it says."""
    outcome = None
    for _ in range(3):
        outcome = world.run(wanted)
        if outcome is not None and outcome.reached:
            break
        _quiesce(world)
    reached = outcome is not None and outcome.reached
    demand(reached, "whatever was cut off, a next run converges", outcome and outcome.message)
    demand(world.route.fence is None and world.route.progress is None, "a run that reached its stage left nothing")


def _quiesce(world: World) -> None:
    """Nobody publishes any more, and all goes well: everything comes to rest, and nothing comes once more."""
    still = 0
    for _ in range(60):
        world.everyone_moves()
        world.seconds += 1.0
        at_rest = not any(pod.waiting for pod in world.pods) and _drained(world) and _copied(world)
        still = still + 1 if at_rest else 0
        if still == REST_ROUNDS:
            break


def _drained(world: World) -> bool:
    due = world.ledger.acknowledged
    return all(group.effects[sent.event.id] for group in world.ledger.groups.values() for sent in due)


def _copied(world: World) -> bool:
    mirror = world.route.mirror
    if mirror is None or world.forged:
        return True
    source, target = world.log(mirror.source), world.log(mirror.target)
    with world.unheeded():
        return source.reached(target.copied(TOPIC, source.name) or {}, source.end(TOPIC))
