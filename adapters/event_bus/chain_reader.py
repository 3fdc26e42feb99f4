"""One member's way along a topic's chain of segments: what to read now, and what has to wait.

Nothing here waits or runs by itself; consumer.py drives it. Where a group stands is never kept
here: it is derived from the backends' own group positions, so that any member can go on where
another left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from adapters import metrics
from adapters.event_bus.base import EventLog, LogReader, Stored
from adapters.event_bus.bookmarks import Bookmarks, Mark, forward
from adapters.event_bus.errors import UnknownTopic
from contracts.routes import Route, Segment


class Turn(Enum):
    """What one step came to."""

    READ_ON = auto()
    IDLE = auto()
    """There is no route yet, or nothing in the chain is left to read."""
    AWAIT_ROUTE = auto()
    """What comes next was written under `awaited_epoch`, newer than the route that was read by."""


def first_unfinished(chain: Sequence[Segment], since: int, finished: Callable[[Segment], bool]) -> Segment | None:
    """The oldest segment, of epoch `since` or newer, that is open or that the group has not finished."""
    for segment in chain:
        if segment.epoch >= since and (segment.end is None or not finished(segment)):
            return segment
    return None


def newest_epoch(entries: Sequence[Stored]) -> int:
    """The newest epoch under which any of `entries` was written; 0 where there are none."""
    return max((entry.event.epoch for entry in entries if entry.event is not None), default=0)


class ChainReader:
    """Reads one topic as `member` of `group`. `take` hands entries out, and says whether all of them took
    effect; `bookmarks` are told of it. `newest` asks the store for the route; None where routes are not followed. Owned
    by one thread."""

    def __init__(
        self,
        open_log: Callable[[str], EventLog],
        topic: str,
        group: str,
        member: str,
        take: Callable[[Sequence[Stored]], bool],
        *,
        max_batch: int,
        start: str,
        newest: Callable[[], Route | None] | None,
        bookmarks: Bookmarks,
    ) -> None:
        self._open_log = open_log
        self._bookmarks = bookmarks
        self._topic = topic
        self._group = group
        self._member = member
        self._of = topic, group
        self._take = take
        self._max_batch = max_batch
        self._start = start
        self._newest = newest
        self._admitted: set[tuple[int, str]] = set()  # epoch and backend of the segments in which it may read
        self._reading: tuple[LogReader, Segment] | None = None
        self.segment_epoch = 0
        """The epoch of the segment being read; 0 before the first."""
        self._took: dict[str, str] = {}
        self._took_of = 0, ""  # two logs may have a segment of one epoch: one that died, and the one that stands in
        self.awaited_epoch = 0
        """After AWAIT_ROUTE: the epoch of the route by which it can go on."""

    def step(self, route: Route | None, timeout: float) -> Turn:
        """Read once by `route`, waiting at most `timeout` s, hand out what was found, and acknowledge it.

        What was handed out and not acknowledged when this raises is delivered again.
        """
        reading = self._reading or self._enter(route)
        if reading is None:
            return Turn.IDLE
        try:
            return self._read(*reading, route, timeout)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Leave the segment, so that another member takes over at once."""
        if self._reading is not None:
            try:
                self._reading[0].close()
            finally:
                self._reading = None  # not before: give_up must reach it

    def flee(self) -> None:
        """Leave the segment without waiting for its backend, which may be dead."""
        self.give_up()
        self.leave()

    def give_up(self) -> None:
        """Let `step` wait for the backend no more. From any thread."""
        reading = self._reading
        if reading is not None:
            reading[0].give_up()

    def _enter(self, route: Route | None) -> tuple[LogReader, Segment] | None:
        if route is None:
            return None
        if self._topic not in route.chains:
            raise UnknownTopic(self._topic, tuple(route.chains))
        if self.segment_epoch == 0:
            self._place_new_group(route)
        segment = first_unfinished(route.chain(self._topic), self.segment_epoch, self._finished)
        if segment is None:
            return None
        self.segment_epoch = segment.epoch
        if self._took_of != (segment.epoch, segment.backend):
            self._took_of, self._took = (segment.epoch, segment.backend), {}
        self._bookmarks.flush(lambda mark: (mark.topic, mark.group, mark.refuge) == (*self._of, segment.backend))
        # What took effect here does so no second time because its acknowledgement found no backend: start behind it.
        start = dict(segment.start)
        forward(start, self._took)
        behind = segment.model_copy(update={"start": start})
        reader = self._open_log(segment.backend).reader(self._topic, self._group, self._member, behind)
        self._reading = reader, segment
        return self._reading

    def _finished(self, segment: Segment) -> bool:
        return self._open_log(segment.backend).group_finished(self._topic, self._group, segment)

    def _place_new_group(self, route: Route) -> None:
        """A group that no segment knows starts where it was told to."""
        chain = route.chain(self._topic)
        if self._start != "latest":
            return
        for backend in {segment.backend for segment in chain}:
            log = self._open_log(backend)
            if log.refuge is not None and log.refuge.taken(*self._of):
                return
            if any(state.group == self._group for state in log.groups(self._topic)):
                return
        for segment in chain:
            log = self._open_log(segment.backend)
            log.place_group(self._topic, self._group, segment.end or log.end(self._topic))

    def _read(self, reader: LogReader, segment: Segment, route: Route | None, timeout: float) -> Turn:
        known = segment.epoch
        if route is not None:
            known = route.epoch
            # Also where it is sealed: its backend may be retired, and made anew, before we come to its end.
            now = _segment_in(route, self._topic, segment)
            if now is None:
                self.flee()
                self._place_anew()
                return Turn.READ_ON
            if segment.end is None and now.end is not None:
                reader.seal_at(now.end)
                segment = now
                self._reading = reader, segment
        entries = reader.poll(self._max_batch, timeout)
        reader.settle()  # what was handed out is durable before the next is
        if segment.end is None and self._outran_the_route(entries, known):
            self.leave()
            return Turn.AWAIT_ROUTE
        if entries and not self._admitted_to(segment):
            self.leave()
            return Turn.IDLE
        if entries:
            if self._take(entries):
                self._note(entries, segment, route)
                reader.begin_ack(entries)
                metrics.consumed(self._topic, self._group, segment.backend).inc(len(entries))
        elif segment.end is not None and reader.finished():
            self.leave()
        return Turn.READ_ON

    def _admitted_to(self, segment: Segment) -> bool:
        """Whether `segment` is still read in, by the route as it is now: asked once a segment, after its backend knows
        the group. A retirement announces itself before it looks for groups, so that either it sees this one, or this
        one sees it. Without that a group whose member was late could begin in a backend that has left, and what it took
        there would be given to it once more by the one that stayed."""
        place = segment.epoch, segment.backend
        if self._newest is None or place in self._admitted:
            return True
        route = self._newest()
        if route is None or route.retires == segment.backend or _segment_in(route, self._topic, segment) is None:
            self._place_anew()
            return False
        self._admitted.add(place)
        return True

    def _place_anew(self) -> None:
        """Where nothing was read yet, the group may still be new: it is placed by the route that comes."""
        if not self._admitted:
            self.segment_epoch = 0

    def _note(self, entries: Sequence[Stored], segment: Segment, route: Route | None) -> None:
        """These took effect, whatever now becomes of their acknowledgement."""
        log, cursor = self._open_log(segment.backend), dict[str, str]()
        for entry in {entry.partition: entry for entry in entries}.values():  # the last of each
            cursor |= log.after(entry)
        forward(self._took, cursor)
        mirror = route.mirror if route is not None else None
        if mirror is not None:
            refuge = mirror.target if segment.backend == mirror.source else mirror.source
            self._bookmarks.note(Mark(self._topic, self._group, segment.epoch, refuge), cursor)

    def _outran_the_route(self, entries: Sequence[Stored], known: int) -> bool:
        """Whether these were written under an epoch newer than the `known` one, by which they were
        read: then the segment may have been sealed before them, and another lies between. They are
        left unacknowledged, and read again by the newer route; taking them now could overtake what
        lies between, or take a mirror's copy for the event itself."""
        newest = newest_epoch(entries)
        if self._newest is None or newest <= known:
            return False
        self.awaited_epoch = newest
        return True


def _segment_in(route: Route, topic: str, segment: Segment) -> Segment | None:
    """The segment as `route` has it; None where it left the chain."""
    for candidate in route.chain(topic):
        if candidate.epoch == segment.epoch and candidate.backend == segment.backend:
            return candidate
    return None
