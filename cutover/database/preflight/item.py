"""An item of preflight: one question about one side, and how its answer becomes a Check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from adapters.known import Unknown
from adapters.postgres.facts import SideFacts
from cutover.database.preflight.situation import HOSTED, SELFHOSTED, Journey, NotKnown, Situation
from validation.result import Check, Verdict

_SHOWN = 5


class On(Enum):
    """Of which side an item is asked."""

    EACH = "each side"
    SOURCE = "the side that serves"
    TARGET = "the other side"
    HOSTED = "hosted"
    SELFHOSTED = "selfhosted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An answer. `wrong` empty: it holds, and `fine` says what was found. `told`: so it is in any case, for it
    could not be known or nothing can be done. `fix` and `expected` in place of the item's where they name things."""

    wrong: Sequence[str] = ()
    fine: str = "as it should be"
    told: bool = False
    fix: str = ""
    expected: str = ""


Decide = Callable[[Situation, str, SideFacts], Finding]
"""Answers for the side of that name with those facts. Raises NotKnown where a fact is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question. `acceptable`: an operator may let it pass, for no row is lost by it that is to be carried.
    `left_as_it_is`: it does not hold up traffic that leaves a side which lacks it."""

    name: str
    expected: str
    fix: str
    decide: Decide
    on: On = On.EACH
    journeys: frozenset[Journey] = frozenset({Journey.JOIN, Journey.SWITCH})
    acceptable: bool = False
    left_as_it_is: bool = False

    def sides(self, at: Situation) -> tuple[str, ...]:
        """The sides of which it is asked in this situation."""
        if at.journey not in self.journeys:
            return ()
        named = {
            On.EACH: (at.source, at.target),
            On.SOURCE: (at.source,),
            On.TARGET: (at.target,),
            On.HOSTED: (HOSTED,),
            On.SELFHOSTED: (SELFHOSTED,),
        }
        return tuple(side for side in named[self.on] if side in at.facts)

    def checks(self, at: Situation) -> Iterator[Check]:
        """Its answers. Of a side that did not answer only `reachable` speaks."""
        for side in self.sides(at):
            facts = at.facts[side]
            if not isinstance(facts, Unknown):
                yield self._judged(at, side, facts)

    def _judged(self, at: Situation, side: str, facts: SideFacts) -> Check:
        name = f"{side}: {self.name}"
        try:
            found = self.decide(at, side, facts)
        except NotKnown as missing:
            check = Check.unknown(name, expected=self.expected, why=str(missing), fix=self.fix)
        else:
            text = named(found.wrong) or found.fine
            expected, fix = found.expected or self.expected, found.fix or self.fix
            check = Check.that(name, not found.wrong, expected=expected, found=text, fix=fix)
            if found.told:
                return told(check)
        if check.outcome.passed:
            return check
        if self.acceptable and self.name in at.accepted:
            return told(check, f"{self.name} is accepted by config")
        if self.left_as_it_is and at.going_back and side == at.source:
            return told(check, "the side is being left")
        return check


def named(things: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f"; and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return "; ".join(things[:_SHOWN]) + more


def told(check: Check, why: str = "") -> Check:
    """`check`, told and not refused."""
    found = f"{check.found} ({check.detail})" if check.detail else check.found
    if check.outcome is not Verdict.HOLDS and why:
        found = f"{found}; {why}"
    return Check.that(f"{check.name} (told only)", True, expected=check.expected, found=found)
