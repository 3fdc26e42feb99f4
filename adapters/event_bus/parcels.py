"""What travels together: parcels of events, and what became of each of theirs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from adapters.event_bus.errors import EventBusError, PermanentError
from contracts.envelope import Event

PARCEL_EVENTS = 500
PARCEL_BYTES = 1 << 20
LANES = 2
"""A writer may send by so many lanes a topic: while one waits for its answer the other sends."""

Outcome = str | EventBusError
"""The position where an event is stored, or why it is not (or is not known to be)."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Events of one topic, in order, that travel together: at most PARCEL_EVENTS, and PARCEL_BYTES unless it is
    one event. `size` in bytes. All events of a key go by the same `lane`, one of LANES; `places` says where each
    stood among what was packed. Made by wire.pack, which refuses what may not be sent."""

    topic: str
    lane: int
    events: Sequence[Event]
    places: Sequence[int]
    size: int


def gathered(futures: Sequence[Future[str]]) -> Future[Sequence[Outcome]]:
    """What became of all `futures`, in their order, once the last of them is resolved."""
    result: Future[Sequence[Outcome]] = Future()
    left = threading.Semaphore(len(futures) - 1)

    def note(_: Future[str]) -> None:
        if not left.acquire(blocking=False):
            result.set_result([outcome_of(future) for future in futures])

    for future in futures:
        future.add_done_callback(note)
    return result


def all_stored(outcomes: Sequence[Outcome]) -> bool:
    """Whether each is a position."""
    return set(map(type, outcomes)) == {str}


def outcome_of(done: Future[str]) -> Outcome:
    """What a resolved future of `submit` says."""
    error = done.exception()
    if error is None:
        return done.result()
    return error if isinstance(error, EventBusError) else PermanentError(repr(error))
