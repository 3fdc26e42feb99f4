"""A circuit breaker, as a pure state machine: who calls a side that keeps failing would only wait for it.

    CLOSED      calls pass; `least` failures within `window` that are `rate` of the calls open it
    OPEN        nobody passes for `rest` seconds
    HALF_OPEN   one call passes, and what becomes of it decides: CLOSED, or OPEN for twice as long

Why it is no library: docs/adr/0012-the-circuit-breaker-is-our-own.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """The states drawn above."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When it opens, and for how long. Times in seconds."""

    least: int = 5
    rate: float = 0.5
    window: float = 10.0
    rest: float = 1.0
    longest: float = 10.0
    """The most that `rest` grows to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Changes give a new one. A call that is let through gets the number of the `round`; what becomes of it counts in
    that round only, so that stragglers of an earlier one decide nothing."""

    rules: Rules = Rules()
    state: State = State.CLOSED
    round: int = 0
    since: float = 0.0
    """Since when it is open, or counts."""
    rest: float = 0.0
    calls: int = 0
    failures: int = 0
    before: tuple[int, int] = (0, 0)
    """Calls and failures of the half of the window before this one."""

    def admit(self, now: float) -> tuple[Breaker, int | None]:
        """Let a call through: the number of the round, or None where it may not pass."""
        if self.state is State.CLOSED:
            return self, self.round
        if self.state is State.OPEN and now >= self.since + self.rest:
            probing = replace(self, state=State.HALF_OPEN, round=self.round + 1)
            return probing, probing.round
        return self, None

    def succeed(self, number: int, now: float) -> Breaker:
        """A call of round `number` was answered."""
        if number != self.round or self.state is State.OPEN:
            return self
        if self.state is State.HALF_OPEN:
            return Breaker(rules=self.rules, round=self.round + 1, since=now)
        rolled = self._rolled(now)
        return replace(rolled, calls=rolled.calls + 1)

    def fail(self, number: int, now: float) -> Breaker:
        """A call of round `number` failed, and the other end is to blame."""
        if number != self.round or self.state is State.OPEN:
            return self
        if self.state is State.HALF_OPEN:
            return self._opened(now, min(2 * self.rest, self.rules.longest))
        rolled = self._rolled(now)
        counted = replace(rolled, calls=rolled.calls + 1, failures=rolled.failures + 1)
        calls, failures = counted.calls + counted.before[0], counted.failures + counted.before[1]
        if failures >= self.rules.least and failures >= self.rules.rate * calls:
            return counted._opened(now, self.rules.rest)
        return counted

    def leave(self, number: int) -> Breaker:
        """A call of round `number` was given up before its outcome was known: the next one may try instead."""
        if number != self.round or self.state is not State.HALF_OPEN:
            return self
        return replace(self, state=State.OPEN)

    def wait(self, now: float) -> float:
        """Seconds until a call may pass; 0 where one may."""
        if self.state is State.CLOSED:
            return 0.0
        return max(self.since + self.rest - now, 0.0)

    def _rolled(self, now: float) -> Breaker:
        half = self.rules.window / 2
        if now < self.since + half:
            return self
        before = (self.calls, self.failures) if now < self.since + 2 * half else (0, 0)
        return replace(self, since=now, calls=0, failures=0, before=before)

    def _opened(self, now: float, rest: float) -> Breaker:
        return Breaker(rules=self.rules, state=State.OPEN, round=self.round + 1, since=now, rest=rest)
