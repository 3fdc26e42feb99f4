"""Preflight: what must hold before a transition of the event bus touches anything, item by item.

Every item is a pure decision over a Situation that was asked for once. All of them are made, so that one run
names all that is wrong. docs/preflight.md tells what each reads, when it refuses, and the fix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cutover.event_bus.preflight import backend_items, cluster_items, topic_items
from cutover.event_bus.preflight.gathering import gather
from cutover.event_bus.preflight.situation import Situation
from cutover.event_bus.work import BusWork
from cutover.plan import Transition
from validation.result import Check

Item = Callable[[Situation], Iterable[Check]]
"""Answers one question, once for each backend or topic that it concerns; not at all where it concerns none."""

ITEMS: tuple[Item, ...] = (
    backend_items.reachable,
    topic_items.partitions,
    topic_items.replication,
    topic_items.retention,
    topic_items.message_size,
    backend_items.memory,
    backend_items.disk,
    backend_items.persistence,
    backend_items.eviction,
    topic_items.trimmed,
    cluster_items.protocol,
    cluster_items.alive,
    cluster_items.clocks,
    backend_items.rights,
    cluster_items.permissions,
)


_LEFT_AS_IT_IS: frozenset[Item] = frozenset(
    {
        topic_items.partitions,
        topic_items.replication,
        topic_items.trimmed,
        backend_items.memory,
        backend_items.disk,
        backend_items.persistence,
        backend_items.eviction,
    }
)
"""Items on the health of a backend. Traffic that goes back leaves a backend that lacks it, which is why it goes."""


def checks(situation: Situation) -> tuple[Check, ...]:
    """The answer of every item."""
    return tuple(
        _excused(check) if _is_left(situation, item, check) else check for item in ITEMS for check in item(situation)
    )


def _is_left(at: Situation, item: Item, check: Check) -> bool:
    left = at.going_back and item in _LEFT_AS_IT_IS and check.name.startswith(f"{at.serving}: ")
    return left and not check.outcome.passed


def _excused(check: Check) -> Check:
    """`check`, told and not refused."""
    found = f"{check.found} ({check.detail})" if check.detail else check.found
    name, expected = f"{check.name} (told only)", f"{check.expected}, but not of a backend that is being left"
    return Check.that(name, True, expected=expected, found=f"expected {check.expected}, found {found}")


def examine(work: BusWork, transition: Transition) -> tuple[Check, ...]:
    """Ask once, then answer every item. Changes nothing."""
    return checks(gather(work, transition, (*cluster_items.NEEDED, *cluster_items.TOO_MUCH)))


__all__ = ["ITEMS", "Item", "Situation", "checks", "examine"]
