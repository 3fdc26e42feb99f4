"""What publishers were given, on its way: parcels, and the batch whose caller waits for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from adapters.event_bus.base import Outcome, Parcel
from adapters.event_bus.errors import BatchFailed, EventBusError, Fenced
from adapters.event_bus.interface import Receipt
from contracts.envelope import Event

Result = Receipt | EventBusError
Finish = Callable[[Sequence[Event], Sequence[Result]], None]
"""Takes the events of a batch, and what became of each."""


class Batch:
    """Events accepted together. Their parcels may be settled on different threads."""

    def __init__(self, events: Sequence[Event], finish: Finish) -> None:
        self._events = events
        self._finish = finish
        self.results: list[Result] = [_UNKNOWN] * len(events)
        self._left = len(events)
        self._lock = threading.Lock()

    def settled(self, count: int) -> None:
        """The results of `count` more events stand where they belong."""
        with self._lock:
            self._left -= count
            if self._left:
                return
        self._finish(self._events, self.results)


@dataclass(slots=True, eq=False)
class Outgoing:
    """A parcel on its way, or what is left of it. `number` is its place among all; `accepted` in seconds of
    time.monotonic."""

    number: int
    parcel: Parcel
    batch: Batch
    accepted: float

    def refused(self, outcomes: Sequence[Outcome]) -> Outgoing | None:
        """What of it is definitely not stored because the backend is sealed; it keeps its place among all."""
        left = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Fenced)]
        if not left:
            return None
        if len(left) == len(outcomes):
            return self
        events = [self.parcel.events[n] for n in left]
        places = [self.parcel.places[n] for n in left]
        size = sum(event.size() for event in events)
        return replace(self, parcel=replace(self.parcel, events=events, places=places, size=size))

    def settle(self, outcomes: Sequence[Outcome], backend: str, epoch: int) -> tuple[int, list[EventBusError]]:
        """Put the results where they belong; how many are stored, and the errors. Refusals are no results."""
        results, stored, failed = self.batch.results, 0, []
        for place, event, outcome in zip(self.parcel.places, self.parcel.events, outcomes, strict=True):
            if isinstance(outcome, str):
                stored += 1
                results[place] = Receipt(event.id, backend, outcome, epoch)
            elif not isinstance(outcome, Fenced):
                failed.append(outcome)
                results[place] = outcome
        return stored, failed


_UNKNOWN = EventBusError("not resolved yet")


def finish_one(future: Future[Receipt]) -> Finish:
    """Resolves the future of one event."""

    def finish(_: Sequence[Event], results: Sequence[Result]) -> None:
        if not future.set_running_or_notify_cancel():
            return  # the caller gave it up; it is stored all the same
        if isinstance(results[0], Receipt):
            future.set_result(results[0])
        else:
            future.set_exception(results[0])

    return finish


def finish_all(future: Future[Sequence[Receipt]]) -> Finish:
    """Resolves the future of a batch."""

    def finish(events: Sequence[Event], results: Sequence[Result]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        receipts = [result for result in results if isinstance(result, Receipt)]
        if len(receipts) == len(results):
            future.set_result(receipts)
        else:
            future.set_exception(BatchFailed(_errors(events, results), len(events)))

    return finish


def _errors(events: Iterable[Event], results: Iterable[Result]) -> dict[str, EventBusError]:
    failed = zip(events, results, strict=True)
    return {event.id: result for event, result in failed if isinstance(result, EventBusError)}
