"""A comparison of rows that was killed goes on: what it found the same is kept at the side that does not serve.

There, because clients wait for nothing at that side; the one that serves is asked no more than the rows themselves, and
where commits wait for the other side (rollback_loss: none) each write there would cost a round trip between the two.
Nothing is lost by it: where the side that does not serve is gone, there is nothing left to compare with.

What cannot be kept or read is said, and stands in no comparison's way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adapters.postgres import compared
from adapters.postgres.driver import Address
from adapters.postgres.errors import PostgresError
from adapters.postgres.masks import Masks
from adapters.postgres.side import Side, opened
from adapters.postgres.target import TARGET_SESSION
from cutover.context import Context
from validation.database.progress import COUNTS, Progress, resume

APPLICATION = "crossover-resuming"
EVERY_SECONDS = 5.0
"""Between two writes: what a kill may cost, beside the ranges under way. A range may be a table of ten rows."""
_SHARE = 20
"""A write that took a second is followed by none for so many: of very many tables the state is large."""
_AGAIN_SECONDS = 60.0
"""After a write that failed: while it is tried the comparison waits."""
_SESSION = {**TARGET_SESSION, "statement_timeout": "5s", "lock_timeout": "5s"}


class Resuming:
    """What is kept of the comparison of that `name`. One run has each name at a time: a switch has the lock; of two
    checks at once one keeps what the other would have, and both are right."""

    def __init__(self, context: Context, servers: Mapping[str, Address], passive: str, name: str) -> None:
        self._c = context
        self._servers, self._passive = servers, passive
        self._name = name
        self._next = 0.0
        self._known = self._kept = False

    def begin(self, masks: Masks, declared: str) -> Progress:
        """What is gone on with, which is said; nothing of before where it is of another state of things. `declared`:
        the digest of the definitions at the side that serves."""
        route = self._c.route
        identity = {
            "side that serves": route.active,
            "epoch": str(route.epoch),
            "definitions": declared,
            "masks": ", ".join(sorted(masks.patterns)),  # by columns that are masked no range is cut
        }
        text: str | None = None
        try:
            for backend, address in self._servers.items():
                with opened(address, APPLICATION, _SESSION) as side:
                    if backend == self._passive:
                        text = compared.read(side, self._name)
                    identity[f"server of {backend}"] = compared.server(side)
                    identity[f"copy at {backend}"] = compared.copied(side)
        except PostgresError as error:
            self._c.say(f"    this comparison begins anew, and could not go on were it cut off: {error}")
            return Progress(identity, self._c.clock())
        self._known, self._kept = True, text is not None
        self._next = self._c.now() + EVERY_SECONDS
        limit = min(COUNTS, self._c.verdict_limit)
        progress, told = resume(text, identity, self._c.clock(), limit)
        if told:
            self._c.say(f"    {told}")
        return progress

    def save(self, progress: Progress) -> None:
        """Keep it, if it is time. The comparison waits for it."""
        if self._known and self._c.now() >= self._next:
            self._write(progress)

    def end(self, progress: Progress, *, over: bool) -> None:
        """Forget what is kept of a comparison that is `over`: all was the same. Of any other keep what was."""
        if over and self._kept:
            self._try(lambda side: compared.forget(side, self._name))
        elif self._known and not over and progress.done[0]:
            self._write(progress)

    def _write(self, progress: Progress) -> None:
        began = self._c.now()
        state, at = progress.to_json(), self._c.clock()
        written = self._try(lambda side: compared.write(side, self._name, state, at))
        took = self._c.now() - began
        self._kept = self._kept or written
        self._next = self._c.now() + (max(EVERY_SECONDS, _SHARE * took) if written else _AGAIN_SECONDS)

    def _try(self, act: Callable[[Side], None]) -> bool:
        try:
            with opened(self._servers[self._passive], APPLICATION, _SESSION) as side:
                act(side)
        except PostgresError as error:
            self._c.say(f"    how far the comparison is could not be kept: {error}")
            return False
        return True
