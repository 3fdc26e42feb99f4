"""Preflight: what must hold before a transition of the language models touches anything, item by item.

Every item is a pure decision over a Situation that was asked for once. All of them are made, so that one run names all
that is wrong. docs/llm.md tells what each reads, when it refuses, and the fix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cutover.llm_service.preflight import cluster_items, model_items
from cutover.llm_service.preflight.gathering import gather
from cutover.llm_service.preflight.situation import Situation
from cutover.llm_service.work import LlmWork
from cutover.plan import Transition
from validation.result import Check

Item = Callable[[Situation], Iterable[Check]]
"""Answers one question, once for each backend or alias that it concerns; not at all where it concerns none."""

ITEMS: tuple[Item, ...] = (
    model_items.reachable,
    model_items.key,
    model_items.offered,
    model_items.answers,
    cluster_items.gpus,
    cluster_items.adapters,
    cluster_items.permissions,
)


def checks(situation: Situation) -> tuple[Check, ...]:
    """The answer of every item."""
    return tuple(check for item in ITEMS for check in item(situation))


def examine(work: LlmWork, transition: Transition) -> tuple[Check, ...]:
    """Ask once, then answer every item. Changes nothing."""
    return checks(gather(work, transition))


__all__ = ["ITEMS", "Item", "Situation", "checks", "examine"]
