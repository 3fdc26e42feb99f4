"""What the publishing gate does next, decided from where it stands. Pure: the threads are the publisher's.

OPEN      events go straight to the writer of the active backend
CLOSING   a fence was seen, or the backend refused as sealed: new events are held, what is in
          flight is awaited
HELD      nothing is in flight; the fence is acknowledged; new events are held
CLOSED    the owner closed the bus
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FENCE_HOLD_SECONDS = 30.0
"""How long a fence without an opening is obeyed. A cutover that died before it sealed anything would
otherwise stop the backend for good; cutover/timing.py gives up well before this."""


class Gate(StrEnum):
    """The states drawn above."""

    OPEN = "open"
    CLOSING = "closing"
    HELD = "held"
    CLOSED = "closed"


class Action(StrEnum):
    """What changes the state of a gate."""

    CLOSE = "close"
    """Hold what comes from now on."""
    SETTLE = "settle"
    """Nothing is in flight, or the fence is an emergency's: acknowledge the fence, where there is one."""
    TAKE_OVER = "take over"
    """Traffic fled from the backend that was written to: what is in flight there is taken back, to be sent again."""
    REOPEN = "reopen"
    """Open a writer to the backend that the route names, and send what was held."""
    END = "end"


@dataclass(frozen=True, slots=True)
class Standing:
    """All that the next action depends on. `fence` is the epoch of the fence in force; `stale` says that the
    writer was opened under another epoch than the route's; `refused`, that the backend is sealed. `emergency`: the
    fence in force does not wait for what is in flight; `fled`: the route names another backend than the writer's,
    because that one is dead."""

    gate: Gate
    fence: int | None
    acknowledged: int
    stale: bool
    refused: bool
    in_flight: int
    held: int
    emergency: bool = False
    fled: bool = False


def next_action(at: Standing) -> Action | None:
    """What has to be done now; None where nothing does until something changes."""
    fenced = at.fence is not None
    quiet = not at.in_flight or (fenced and at.emergency)
    match at.gate:
        case Gate.CLOSED:
            return Action.END
        case Gate.OPEN:
            return Action.CLOSE if fenced or at.stale or at.refused else None
        case Gate.CLOSING | Gate.HELD if not fenced and at.fled and at.in_flight:
            return Action.TAKE_OVER
        case Gate.CLOSING:
            return Action.SETTLE if quiet else None
        case Gate.HELD if fenced:
            return Action.SETTLE if quiet and at.fence != at.acknowledged else None
        case Gate.HELD:
            return Action.REOPEN if at.held and not at.in_flight else None
