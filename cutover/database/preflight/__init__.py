"""Preflight: what must hold before a transition of the database touches anything, item by item.

Every item is a pure decision over a Situation that was asked for once. All of them are made, so that one run names
all that is wrong. docs/database-preflight.md tells what each reads, when it refuses, and the fix.
"""

from __future__ import annotations

from cutover.database.preflight import activity_items, backup_item, content_items, rights_items, server_items
from cutover.database.preflight.gathering import End, gather
from cutover.database.preflight.item import Item
from cutover.database.preflight.situation import Backup, Journey, Limits, Situation, journey
from validation.result import Check

ITEMS: tuple[Item, ...] = (
    backup_item.ITEM,
    *server_items.ITEMS,
    *rights_items.ITEMS,
    *content_items.ITEMS,
    *activity_items.ITEMS,
)
ACCEPTABLE = frozenset(item.name for item in ITEMS if item.acceptable)
"""What config may let pass (crossover:database.accept)."""


def checks(situation: Situation) -> tuple[Check, ...]:
    """The answer of every item."""
    asked = (check for item in ITEMS for check in item.checks(situation))
    return (*server_items.reachable(situation), *asked)


__all__ = [
    "ACCEPTABLE", "ITEMS", "Backup", "End", "Item", "Journey", "Limits", "Situation", "checks", "gather", "journey",
]  # fmt: skip
