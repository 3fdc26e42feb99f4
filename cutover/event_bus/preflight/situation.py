"""All that preflight decides over: what backends, adapters and the cluster said, asked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from adapters.event_bus.base import LogSettings
from adapters.event_bus.facts import Gap, LogFacts
from adapters.known import Clock, Fact, Unknown
from adapters.routes.base import Permission
from contracts.registry import AdapterRecord
from contracts.routes import Route
from contracts.stages import STAGE_TABLE, Component, Side, serving_backend
from cutover.plan import Step, Transition

COMPONENT = Component.EVENT_BUS


class Refused(Unknown):
    """A backend that answered, and would not have these credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What was found before `transition`. `needed`: the backends that it touches; `largest`: by topic, the bytes
    of the largest event that the other backend has not been given yet; `present`: pods that may hold an adapter."""

    transition: Transition
    route: Route | None
    settings: LogSettings
    topics: tuple[str, ...]
    needed: tuple[str, ...]
    facts: Mapping[str, Fact[LogFacts]]
    gaps: Mapping[str, Fact[Sequence[Gap]]]
    largest: Mapping[str, Fact[int]]
    adapters: Fact[Sequence[AdapterRecord]]
    present: Fact[frozenset[str]]
    api_clock: Fact[Clock]
    permissions: Fact[Mapping[Permission, bool]]
    volumes: Mapping[str, int] = field(default_factory=dict)

    @property
    def serving(self) -> str:
        """The backend that serves, or will where nothing was established yet."""
        return self.route.active if self.route else serving_backend(COMPONENT, self.transition.goal)

    @property
    def following(self) -> str | None:
        """The backend that is, or will be, kept in step; None where one alone is needed."""
        return next((name for name in self.needed if name != self.serving), None)

    @property
    def settled(self) -> frozenset[str]:
        """The backends that this transition does not prepare: topics and rights must be there already."""
        if Step.ESTABLISH in self.transition.steps:
            return frozenset()
        prepared = {self.following} if Step.PREPARE in self.transition.steps else set()
        return frozenset(self.needed) - prepared

    @property
    def going_back(self) -> bool:
        """Whether traffic returns to the old backend. What is wrong with the one that it leaves, and what is no
        danger to data, must not stand in the way of that."""
        origin, goal = self.transition.origin, self.transition.goal
        if origin is None:
            return False
        return STAGE_TABLE[origin].serves is Side.NEW and STAGE_TABLE[goal].serves is Side.OLD

    def known(self, backend: str) -> LogFacts | None:
        """The facts of `backend`, None where it told none."""
        facts = self.facts.get(backend)
        return None if facts is None or isinstance(facts, Unknown) else facts

    def having[T](self, read: Callable[[LogFacts], Fact[T] | None]) -> Iterator[tuple[str, Fact[T]]]:
        """The backends that answered and have what `read` reads, with it. One that did not answer fails as such."""
        for backend in self.needed:
            facts = self.known(backend)
            found = read(facts) if facts is not None else None
            if found is not None:
                yield backend, found
