"""Who answers a call, and who is asked next where that failed. Pure.

A conversation has a place from 0 to 100, by a hash. The side that is new on the journey takes those below its percent.
So a conversation stays where it is while the percent does, and a higher percent only ever adds conversations, whichever
side the route calls active.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from adapters.llm import Failure
from contracts.routes import Route
from contracts.stages import Component, Side, backend_of, deployed_backends, other_backend

COMPONENT = Component.LLM_SERVICE
OLD, NEW = backend_of(COMPONENT, Side.OLD), backend_of(COMPONENT, Side.NEW)
_PLACES = 10_000
MOST_ATTEMPTS = 3


def place(conversation: str) -> float:
    """Where `conversation` stands, from 0 up to 100."""
    digest = hashlib.sha256(conversation.encode()).digest()
    return int.from_bytes(digest[:8]) % _PLACES * 100 / _PLACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a route means for calls: made once for each route."""

    epoch: int
    active: str
    other: str | None
    """The side that answers where `active` may not or cannot; None where there is none."""
    new_percent: int
    """Percent of the conversations that the new side answers."""
    sample: float
    """Percent of the calls that are sent to the other side, too."""
    mirror: str | None
    """The other side for the sake of samples: it may have them before it has calls."""

    @property
    def divided(self) -> bool:
        """Whether it depends on the conversation who answers."""
        return 0 < self.new_percent < 100

    def chosen(self, conversation: str) -> str:
        """The side that answers `conversation` first."""
        return NEW if place(conversation) < self.new_percent else OLD

    def sampled_side(self, answered: str, draw: float) -> str | None:
        """The side that gets a sample of a call that `answered` has answered. `draw`: from 0 up to 100."""
        if self.mirror is None or draw >= self.sample:
            return None
        return self.mirror if answered == self.active else self.active


def plan_of(route: Route | None, configured: Collection[str]) -> Plan:
    """What `route` means, where `configured` sides have an address. Without a route the old side answers."""
    if route is None:
        return Plan(epoch=0, active=OLD, other=None, new_percent=0, sample=0.0, mirror=None)
    active, other = route.active, other_backend(COMPONENT, route.active)
    known = other in configured
    share = 100 if route.share is None else route.share
    serves = known and (other in deployed_backends(COMPONENT, route.stage) or share < 100)
    if not serves:
        share = 100
    return Plan(
        epoch=route.epoch,
        active=active,
        other=other if serves else None,
        new_percent=share if active == NEW else 100 - share,
        sample=route.sample or 0.0,
        mirror=other if known and route.sample else None,
    )


_AGAIN = frozenset({Failure.DROPPED})
"""The connection was an old one, most likely: the same side may well answer."""
_ALONE = frozenset({Failure.DROPPED, Failure.UNREACHABLE, Failure.NO_NAME})
"""Nothing was asked yet, so where there is no other side, the same one may be asked once more."""


def after(tried: Sequence[tuple[str, Failure]], chosen: str, other: str | None) -> str | None:
    """The side to ask after `tried` failed, oldest first; None: nobody. Every failure may go to the other side: what
    one side refuses, such as a request too long for its model, the other may take, and nobody has seen a token yet."""
    side, failure = tried[-1]
    if len(tried) >= MOST_ATTEMPTS:
        return None
    asked = [one for one, _ in tried]
    if side == chosen and asked.count(side) == 1 and failure in (_AGAIN if other is not None else _ALONE):
        return side
    return other if other is not None and other not in asked else None
