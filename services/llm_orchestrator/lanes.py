"""A lane: one model at one side, with what is known of how it does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from adapters.llm import ChatBackend, Failure
from contracts.llm import Endpoint, Endpoints
from services.common import metrics
from services.llm_orchestrator.breaker import Breaker, Rules, State
from services.llm_orchestrator.choosing import NEW

LONGEST_REST_SECONDS = 60.0
"""How long a Retry-After is believed. After that one call finds out."""
_DEFAULT_REST_SECONDS = 1.0
_NO_FAULT = frozenset({Failure.REFUSED, Failure.LIMITED})
"""What says nothing against a side: the first may be the caller's doing, the second has its own rest."""
_STATES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


def rest_of(retry_after: str | None) -> float:
    """Seconds to leave a side alone after a 429. A date counts as unknown: adapters give seconds where they can."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return _DEFAULT_REST_SECONDS
    return _DEFAULT_REST_SECONDS if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_REST_SECONDS)


class Lane:
    """Owned by one event loop. Several aliases may share one."""

    def __init__(
        self,
        side: str,
        model: str,
        backend: ChatBackend,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.side = side
        self.model = model
        self.backend = backend
        self._clock = clock
        self._breaker = Breaker(rules=rules or Rules())
        self._rests_until = 0.0
        self._show()

    @property
    def wait(self) -> float:
        """Seconds until it may be asked again; 0: now."""
        now = self._clock()
        return max(self._breaker.wait(now), self._rests_until - now, 0.0)

    @property
    def resting(self) -> float:
        """Seconds that its last 429 asked for and that are not over."""
        return max(self._rests_until - self._clock(), 0.0)

    @property
    def sound(self) -> bool:
        """Whether nothing is known against it."""
        return self._breaker.state is State.CLOSED and not self.resting

    def admit(self) -> int | None:
        """Let a call through: what succeed, fail or leave wants to know; None: do not ask it now."""
        if self.resting:
            return None
        self._breaker, number = self._breaker.admit(self._clock())
        self._show()
        return number

    def succeed(self, number: int) -> None:
        """It began to answer."""
        self._breaker = self._breaker.succeed(number, self._clock())
        self._show()

    def fail(self, number: int, failure: Failure, retry_after: str | None = None) -> None:
        """It failed, before it answered or in the middle."""
        if failure is Failure.LIMITED:
            self._rests_until = self._clock() + rest_of(retry_after)
        if failure in _NO_FAULT:
            # It answered, so it is there.
            self._breaker = self._breaker.succeed(number, self._clock())
        else:
            self._breaker = self._breaker.fail(number, self._clock())
        self._show()

    def leave(self, number: int) -> None:
        """The caller went before it answered."""
        self._breaker = self._breaker.leave(number)
        self._show()

    def _show(self) -> None:
        metrics.llm_breaker(self.side, self.model).set(_STATES[self._breaker.state])


Connect = Callable[[str, str], ChatBackend]
"""Makes the backend of a side at a base URL."""


class Lanes:
    """All lanes, by side and alias. One backend a base URL, so that its connections serve every model there."""

    def __init__(self, endpoints: Endpoints, connect: Connect, rules: Rules | None = None) -> None:
        self._backends: dict[tuple[str, str], ChatBackend] = {}
        shared: dict[tuple[str, Endpoint], Lane] = {}
        self._by_alias: dict[tuple[str, str], Lane] = {}
        for side, aliases in endpoints.root.items():
            for alias, endpoint in aliases.items():
                key = side, endpoint.base_url
                if key not in self._backends:
                    self._backends[key] = connect(*key)
                if (side, endpoint) not in shared:
                    shared[side, endpoint] = Lane(side, endpoint.model, self._backends[key], rules)
                self._by_alias[side, alias] = shared[side, endpoint]
        self.sides = frozenset(endpoints.root)
        self.aliases = endpoints.aliases
        self._names = _names(endpoints)

    def get(self, side: str, alias: str) -> Lane | None:
        """The lane of `alias` at `side`; None where it has no address."""
        return self._by_alias.get((side, alias))

    @property
    def names(self) -> list[str]:
        """All that can be asked for: aliases first. The same at every stage."""
        return [*self.aliases, *sorted(set(self._names) - set(self.aliases))]

    def alias(self, name: str) -> str | None:
        """The alias that `name` is or that stands for the model `name`; None where there is none."""
        return name if name in self.aliases else self._names.get(name)

    async def close(self) -> None:
        """Give up all connections."""
        for backend in self._backends.values():
            await backend.close()


def _names(endpoints: Endpoints) -> Mapping[str, str]:
    """Model -> alias. Callers may know a model by the name that one side has for it: the old side's goes first."""
    found: dict[str, str] = {}
    for side in sorted(endpoints.root, key=lambda side: side == NEW):
        for alias in endpoints.aliases:
            found.setdefault(endpoints.of(side, alias).model, alias)
    return found
