"""What travels together: parcels of events, and what became of each of theirs."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import overload

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


class Lazy[T](Sequence[T]):
    """A sequence of known length that is made when the first of it is looked at, for few callers look at any."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._made: list[T] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if self._made is None:
            self._made = self._make()
        return self._made[index]

    @abstractmethod
    def _make(self) -> list[T]:
        """All of it."""


class Positions(Lazy[Outcome]):
    """Where events lie that are all stored, as `partition:offset`. `partitions` says where each went, `bases` where
    the first of each partition lies."""

    def __init__(self, partitions: Sequence[int], bases: Mapping[int, int]) -> None:
        super().__init__(len(partitions))
        self._partitions = partitions
        self._bases = bases

    def parts(self, lengths: Iterable[int]) -> Iterator[Positions]:
        """It in pieces of these lengths, from the first on, none written out."""
        bases, first = dict(self._bases), 0
        for length in lengths:
            piece = self._partitions[first : first + length]
            yield Positions(piece, dict(bases))
            for partition, count in Counter(piece).items():
                bases[partition] += count
            first += length

    def _make(self) -> list[Outcome]:
        counts = Counter(self._partitions)
        at = {p: iter([f"{p}:{n}" for n in range(base, base + counts[p])]) for p, base in self._bases.items()}
        return [next(at[partition]) for partition in self._partitions]


def all_stored(outcomes: Sequence[Outcome]) -> bool:
    """Whether each is a position."""
    return isinstance(outcomes, Positions) or set(map(type, outcomes)) == {str}


def parts(outcomes: Sequence[Outcome], lengths: Sequence[int]) -> Iterator[Sequence[Outcome]]:
    """`outcomes` in pieces of these lengths, from the first on."""
    if isinstance(outcomes, Positions):
        yield from outcomes.parts(lengths)
        return
    first = 0
    for length in lengths:
        yield outcomes[first : first + length]
        first += length


def outcome_of(done: Future[str]) -> Outcome:
    """What a resolved future of `submit` says."""
    error = done.exception()
    if error is None:
        return done.result()
    return error if isinstance(error, EventBusError) else PermanentError(repr(error))
