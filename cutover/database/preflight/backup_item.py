"""The item on the backup: what moves on has a copy elsewhere that is known to come back."""

from __future__ import annotations

from adapters.postgres.facts import SideFacts
from cutover.database.preflight.item import Finding, Item, On
from cutover.database.preflight.situation import HOSTED, Situation, known


def _backup(at: Situation, side: str, facts: SideFacts) -> Finding:
    """On the way there only: nothing may hold up the way back for want of a backup."""
    if side != HOSTED:
        return Finding(fine="not asked for on the way back")
    found = known(at.backup)
    if found is None:
        return Finding(wrong=["none is noted"])
    text = f"{found.hours:.1f} h old, in {found.place}"
    if found.side != side:
        return Finding(wrong=[f"the last one is of {found.side}, which does not serve; {text}"])
    fresh = found.hours <= at.limits.backup_hours  # NaN is not
    return Finding(wrong=[] if fresh else [text], fine=text, expected=f"one of at most {at.limits.backup_hours:g} h")


ITEM = Item(
    name="backup",
    expected="a backup of the side that serves, restored once, younger than crossover:database.backup_hours",
    fix="crossover backup --to FOLDER; then pulumi up again",
    decide=_backup,
    on=On.SOURCE,
    acceptable=True,
)
