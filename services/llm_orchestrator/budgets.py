"""Two budgets, both buckets that fill with time: of retries, and of what sampling may cost. No effects but a count."""

from __future__ import annotations


class RetryBudget:
    """How many calls may be sent once more. Each call earns `ratio` of a retry, each second `drip`, up to `reserve`: a
    side that dies with many calls in hand costs none of them, and one that is overloaded is not asked twice by all."""

    def __init__(self, reserve: float = 100.0, ratio: float = 0.2, drip: float = 2.0) -> None:
        self._reserve = reserve
        self._ratio = ratio
        self._drip = drip
        self._left = reserve
        self._at = 0.0

    def call(self, now: float) -> None:
        """A call came."""
        earned = self._ratio + max(now - self._at, 0.0) * self._drip
        self._left = min(self._left + earned, self._reserve)
        self._at = now

    def take(self) -> bool:
        """Whether a retry may be sent; it is counted then."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class TokenBudget:
    """Tokens a minute. What a call will cost is only guessed when it is taken, so `settle` corrects it: what was spent
    beyond the guess is not available to the next ones."""

    def __init__(self, a_minute: float) -> None:
        self._most = a_minute
        self._left = a_minute
        self._at = 0.0

    def take(self, tokens: float, now: float) -> bool:
        """Whether `tokens` may be spent; they are counted then."""
        self._left = min(self._left + max(now - self._at, 0.0) * self._most / 60, self._most)
        self._at = now
        if tokens > self._left:
            return False
        self._left -= tokens
        return True

    def settle(self, guessed: float, spent: float) -> None:
        """`spent` tokens were spent where `guessed` had been taken."""
        self._left += guessed - spent
