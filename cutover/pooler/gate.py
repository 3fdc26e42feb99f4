"""What the pooler's agent does next, decided from where things stand. Pure: the effects are the agent's.

OPEN      PgBouncer hands out connections
HELD      it is paused, and the pause is ours
FOREIGN   it is paused, as a whole or in a database, and not by us: it is never resumed by us
AWAY      its console does not answer
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from adapters.event_bus.gate import FENCE_HOLD_SECONDS

NOWHERE, UNKNOWN = "", "?"
"""Where PgBouncer points, where that is no side: at no server, or at one that nobody named."""
BLIND_SECONDS = 120.0
"""How much longer than FENCE_HOLD_SECONDS an acknowledged fence is held where the route cannot be read. It may have
been opened meanwhile: then going on at the old side would write rows there that the new side never sees. Clients wait
for 300 s, so none of them fails of it. After that data goes on with the last route, as all adapters do."""


class Gate(StrEnum):
    """The states drawn above."""

    OPEN = "open"
    HELD = "held"
    FOREIGN = "paused by somebody else"
    AWAY = "away"


class Action(StrEnum):
    """What the agent does."""

    PAUSE = "pause"
    """Note that the pause is ours, and pause, within a deadline where a fence asks for it."""
    AWAIT = "await"
    """A pause of ours that still waits for transactions, begun by an agent that was killed: wait for them."""
    BLOCK = "block"
    """Let PgBouncer reach no server, on disk and loaded: whoever restarts or resumes it now can write nowhere."""
    ACKNOWLEDGE = "acknowledge"
    """Tell the cutover that nothing is written any more."""
    LOOK = "look"
    """The fence ran out, and it may have been opened unseen: read the route itself, not what the watch told last."""
    LAST_LOOK = "last look"
    """The same after so long that, where it cannot be read now either, the fence is given up: an agent that stood still
    all that time has not looked yet."""
    GIVE_UP = "give up"
    """Obey this fence no longer."""
    MOVE = "move"
    """Point at the side that the route names, see that it does and that one can log in there, and resume."""
    POINT = "point"
    """The same without resuming."""
    TIDY = "tidy"
    """Drop the note of a pause that is over, and what it may have left: the ini on disk, a pool kept small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that the next action depends on.

    `active`: the side that the route names, None before one was seen. `loaded`: the side that PgBouncer points at,
    NOWHERE or UNKNOWN. `written`: the ini on disk is that of `active`. `drained`: no transaction runs, or (an
    emergency) those that do are not waited for. `fence`: the epoch of the one in force; `age`: seconds since it was
    first seen; `refused`: the epoch of the last one that is not obeyed (any more); `acknowledged`: the last told.
    `noted`: there is a note of a pause of ours. `waited`: seconds since our pause began, `limit`: how long it may wait
    for transactions. `sure`: the route was read, not only watched, since the fence ran out.
    """

    gate: Gate
    active: str | None
    loaded: str
    written: bool = True
    drained: bool = True
    fence: int | None = None
    age: float = 0.0
    refused: int = 0
    acknowledged: int = 0
    noted: bool = False
    waited: float = 0.0
    limit: float = 3.0
    sure: bool = False

    @property
    def obeyed(self) -> bool:
        """Whether a fence is in force that counts for us."""
        return self.fence is not None and self.fence != self.refused


def next_action(at: Standing) -> Action | None:
    """What has to be done now; None where nothing does until something changes."""
    if at.active is None or at.gate is Gate.AWAY:
        return None
    if at.obeyed and at.age > FENCE_HOLD_SECONDS:
        return _outlived(at)
    match at.gate:
        case Gate.FOREIGN:
            return Action.POINT if at.fence is None and at.loaded != at.active else None
        case Gate.OPEN:
            return _open(at)
        case Gate.HELD:
            return _fenced(at) if at.obeyed else _released(at)


def _outlived(at: Standing) -> Action:
    # An agent before this one may have acknowledged it: not before PgBouncer could reach no server any more.
    told = at.acknowledged == at.fence or at.loaded == NOWHERE
    if not told or at.sure:
        return Action.GIVE_UP
    return Action.LAST_LOOK if at.age > FENCE_HOLD_SECONDS + BLIND_SECONDS else Action.LOOK


def _open(at: Standing) -> Action | None:
    if at.obeyed or at.loaded != at.active:
        return Action.PAUSE
    return Action.TIDY if at.noted or not at.written else None


def _fenced(at: Standing) -> Action | None:
    if not at.drained:
        return Action.GIVE_UP if at.waited > at.limit else Action.AWAIT
    if at.loaded != NOWHERE:
        return Action.BLOCK
    return Action.ACKNOWLEDGE if at.acknowledged != at.fence else None


def _released(at: Standing) -> Action:
    # What still runs at another side than the route's ends there before anything goes to the right one.
    waits = not at.drained and at.loaded not in (NOWHERE, at.active)
    return Action.AWAIT if waits else Action.MOVE
