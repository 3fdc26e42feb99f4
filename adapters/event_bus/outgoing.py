"""What publishers were given, on its way: parcels, and the batch whose caller waits for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import cast

from adapters.event_bus.errors import BatchFailed, EventBusError, Fenced
from adapters.event_bus.interface import Receipt
from adapters.event_bus.parcels import Lazy, Outcome, Parcel, all_stored
from contracts.envelope import Event


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events of a parcel that are durable: all of them, or those at `at`."""

    parcel: Parcel
    outcomes: Sequence[Outcome]
    backend: str
    epoch: int
    at: Sequence[int]


class Receipts(Lazy[Receipt]):
    """The receipts of a batch, in its order."""

    def __init__(self, count: int, stored: Sequence[Stretch]) -> None:
        super().__init__(count)
        self._stored = stored

    def _make(self) -> list[Receipt]:
        found: list[Receipt | None] = [None] * self._count
        for one in self._stored:
            places, events = one.parcel.places, one.parcel.events
            for n in one.at:
                found[places[n]] = Receipt(events[n].id, one.backend, cast(str, one.outcomes[n]), one.epoch)
        return [receipt for receipt in found if receipt is not None]


class Batch:
    """Events accepted together; `finish` is called once all are settled. Their parcels may be settled on different
    threads."""

    def __init__(self, events: Sequence[Event], finish: Callable[[Batch], None]) -> None:
        self.events = events
        self.errors: dict[int, EventBusError] = {}
        """By place in the batch."""
        self._stored: list[Stretch] = []
        self._finish = finish
        self._left = len(events)
        self._lock = threading.Lock()

    @property
    def receipts(self) -> Receipts:
        """Of all events, where none failed."""
        return Receipts(len(self.events), self._stored)

    def settled(self, stored: Stretch, errors: dict[int, EventBusError]) -> None:
        """What became of more of its events."""
        with self._lock:
            self._stored.append(stored)
            self.errors |= errors
            self._left -= len(stored.at) + len(errors)
            if self._left:
                return
        self._finish(self)


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
        if all_stored(outcomes):
            return None
        left = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Fenced)]
        if not left:
            return None
        if len(left) == len(outcomes):
            return self
        events = [self.parcel.events[n] for n in left]
        places = [self.parcel.places[n] for n in left]
        size = sum(event.size() for event in events)
        return replace(self, parcel=replace(self.parcel, events=events, places=places, size=size))

    def results(
        self, outcomes: Sequence[Outcome], backend: str, epoch: int
    ) -> tuple[Stretch, dict[int, EventBusError]]:
        """What of it is stored, and by place in the batch what failed. Refusals are neither."""
        at: Sequence[int] = range(len(outcomes))
        errors: dict[int, EventBusError] = {}
        if not all_stored(outcomes):
            at = [n for n in at if isinstance(outcomes[n], str)]
            for place, outcome in zip(self.parcel.places, outcomes, strict=True):
                if isinstance(outcome, EventBusError) and not isinstance(outcome, Fenced):
                    errors[place] = outcome
        return Stretch(self.parcel, outcomes, backend, epoch, at), errors


def finish_one(future: Future[Receipt]) -> Callable[[Batch], None]:
    """Resolves the future of one event."""

    def finish(batch: Batch) -> None:
        if not future.set_running_or_notify_cancel():
            return  # the caller gave it up; it is stored all the same
        if batch.errors:
            future.set_exception(batch.errors[0])
        else:
            future.set_result(batch.receipts[0])

    return finish


def finish_all(future: Future[Sequence[Receipt]]) -> Callable[[Batch], None]:
    """Resolves the future of a batch."""

    def finish(batch: Batch) -> None:
        if not future.set_running_or_notify_cancel():
            return
        if batch.errors:
            errors = {batch.events[place].id: error for place, error in sorted(batch.errors.items())}
            future.set_exception(BatchFailed(errors, len(batch.events)))
        else:
            future.set_result(batch.receipts)

    return finish
