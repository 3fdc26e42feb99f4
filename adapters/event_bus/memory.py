"""The shipped fake: a whole backend in memory, with the semantics of the real ones.

Partitions, consumer groups with one active member and standbys, a seal in the append path,
copies with their source position in one step, retention. `MemoryServer.faults` makes it
misbehave on demand. Nothing is durable: it is for tests, and for services run alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future

from adapters.event_bus.base import (
    EventLog,
    GroupState,
    LogCopier,
    LogReader,
    LogSettings,
    LogTail,
    LogWriter,
    Refuge,
    Stored,
)
from adapters.event_bus.errors import BufferFull, BusClosed, EventBusError, Fenced, PublishTimeout
from adapters.event_bus.facts import LogFacts, Retained, Rights, TopicFacts
from adapters.event_bus.memory_reader import MemoryReader, MemoryTail
from adapters.event_bus.memory_server import GroupPlace, MemoryServer
from adapters.event_bus.wire import encode_copy, pack, reached
from adapters.known import Clock
from contracts.envelope import Event
from contracts.names import all_topics
from contracts.routes import Cursor, Segment

MAX_IN_FLIGHT = 32_768


class MemoryWriter(LogWriter):
    """Resolves a submit at once, unless faults keep it in flight."""

    def __init__(self, server: MemoryServer, settings: LogSettings) -> None:
        self._server = server
        self._settings = settings
        self._in_flight: dict[str, deque[tuple[Event, Future[str]]]] = {}
        self._closed = False

    def warm(self, topics: Collection[str]) -> None:
        """Nothing: there is no connection."""

    def submit(self, event: Event) -> Future[str]:
        pack(self._settings, (event,))
        with self._server.changed:
            if self._closed:
                raise BusClosed("the writer is closed: the event was not sent")
            if sum(map(len, self._in_flight.values())) >= MAX_IN_FLIGHT:
                raise BufferFull(f"{MAX_IN_FLIGHT} events are in flight: event {event.id} was not sent")
            future: Future[str] = Future()
            self._in_flight.setdefault(event.topic, deque()).append((event, future))
        self.flush()
        return future

    def flush(self) -> None:
        """Let everything arrive that no fault keeps in flight."""
        done: list[tuple[Future[str], str | EventBusError]] = []
        with self._server.changed:
            for topic, waiting in self._in_flight.items():
                if self._server.faults.in_the_way(topic):
                    continue
                while waiting:
                    event, future = waiting.popleft()
                    done.append((future, self._arrive(event)))
        # Outside the lock: callbacks may take locks of their own.
        _resolve(done)

    def time_out(self, *, stored: bool) -> None:
        """What is in flight fails with PublishTimeout, and is `stored` all the same, or not."""
        done: list[tuple[Future[str], str | EventBusError]] = []
        with self._server.changed:
            for waiting in self._in_flight.values():
                while waiting:
                    event, future = waiting.popleft()
                    if stored:
                        self._arrive(event)
                    done.append((future, PublishTimeout(f"event {event.id}: no answer in time, as asked for")))
        _resolve(done)

    def drain(self, timeout: float) -> bool:
        deadline = self._server.clock() + timeout
        while True:
            self.flush()
            with self._server.changed:
                if not any(self._in_flight.values()):
                    return True
                left = deadline - self._server.clock()
                if left <= 0:
                    return False
                self._server.changed.wait(left)

    def close(self) -> None:
        with self._server.changed:
            self._closed = True
            lost = [future for waiting in self._in_flight.values() for _, future in waiting]
            self._in_flight.clear()
        _resolve([(future, BusClosed("the writer was closed before the event arrived")) for future in lost])

    def _arrive(self, event: Event) -> str | EventBusError:
        try:
            self._server.faults.check("submit")
        except EventBusError as error:
            return error
        epoch = self._server.seals.get(event.topic)
        if epoch is not None:
            return Fenced(f"{event.topic} is sealed since epoch {epoch}: event {event.id} was not stored")
        return self._server.append(event.topic, self._settings.partitions, event.key, event.headers(), event.payload)


def _resolve(done: Sequence[tuple[Future[str], str | EventBusError]]) -> None:
    for future, outcome in done:
        if isinstance(outcome, str):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)


class MemoryCopier(LogCopier):
    """Appends copies in one step with the source position; refused once a newer session exists."""

    def __init__(self, server: MemoryServer, settings: LogSettings, topic: str, source: str, segment: int) -> None:
        self._server = server
        self._settings = settings
        self._topic = topic
        self._source = source
        self._segment = segment
        self._reached: Cursor | None = None
        with server.changed:
            server.faults.check("copier")
            if (topic, source) in server.closed:
                raise Fenced(f"no copies of {topic} are taken from {source}: traffic fled from it")
            self._session = server.sessions.get((topic, source), 0) + 1
            server.sessions[topic, source] = self._session

    def copy(self, entries: Sequence[Stored], reached: Cursor) -> None:
        with self._server.changed:
            self._server.faults.check("copy")
            if self._server.sessions[self._topic, self._source] != self._session:
                raise Fenced(f"a newer session copies {self._topic} from {self._source}: nothing was copied")
            _refuse_backwards(self._reached, reached)
            for entry in entries:
                headers, key, payload = encode_copy(entry, self._source, self._segment)
                self._server.append(self._topic, self._settings.partitions, key, dict(headers), payload)
            self._server.copied[self._topic, self._source] = self._reached = dict(reached)

    def close(self) -> None:
        """Nothing to give up."""


def _refuse_backwards(before: Cursor | None, now: Cursor) -> None:
    if before is not None and not reached(now, before):
        raise ValueError(f"copies reach {dict(before)} already: {dict(now)} is behind it")


class MemoryLog(EventLog, Refuge):
    """One process's view of a `MemoryServer`. `stands_in`: whether traffic may flee to it, as to Redis."""

    def __init__(
        self, name: str, settings: LogSettings, server: MemoryServer | None = None, *, stands_in: bool = True
    ) -> None:
        self.name = name
        self.settings = settings
        self.server = server or MemoryServer()
        self._stands_in = stands_in

    # -- data plane

    def writer(self, client_id: str) -> MemoryWriter:
        return MemoryWriter(self.server, self.settings)

    def reader(self, topic: str, group: str, member: str, segment: Segment) -> LogReader:
        return MemoryReader(self.server, self.settings, topic, group, member, segment)

    def tail(self, topic: str, start: Cursor) -> LogTail:
        return MemoryTail(self.server, self.settings, topic, start)

    def scan(self, topic: str, start: Cursor, end: Cursor) -> Iterator[Stored]:
        for name, last in end.items():
            with self.server.changed:
                self.server.faults.check("scan")
                partition = self.server.partitions(topic, self.settings.partitions)[int(name)]
                offset, stop = max(partition.first, int(start.get(name, "0"))), min(int(last), partition.end)
            while offset < stop:
                with self.server.changed:
                    entry = self.server.read(topic, self.settings.partitions, int(name), offset)
                yield entry
                offset += 1

    # -- positions

    def beginning(self, topic: str) -> Cursor:
        with self.server.changed:
            self.server.faults.check("beginning")
            partitions = self.server.partitions(topic, self.settings.partitions)
            return {str(number): str(partition.first) for number, partition in enumerate(partitions)}

    def end(self, topic: str) -> Cursor:
        with self.server.changed:
            self.server.faults.check("end")
            partitions = self.server.partitions(topic, self.settings.partitions)
            return {str(number): str(partition.end) for number, partition in enumerate(partitions)}

    def reached(self, position: Cursor, goal: Cursor) -> bool:
        return reached(position, goal)

    def after(self, entry: Stored) -> Cursor:
        return {str(entry.partition): str(int(entry.position) + 1)}

    def groups(self, topic: str) -> Sequence[GroupState]:
        with self.server.changed:
            self.server.faults.check("groups")
            return [
                self._state(topic, name, group.places)
                for (of, name), group in sorted(self.server.groups.items())
                if of == topic
            ]

    def _state(self, topic: str, name: str, places: Sequence[GroupPlace]) -> GroupState:
        partitions = self.server.partitions(topic, self.settings.partitions)
        return GroupState(
            group=name,
            position={str(number): str(place.committed) for number, place in enumerate(places)},
            pending=sum(max(0, place.delivered - place.committed) - len(place.acked) for place in places),
            lag=sum(
                partition.end - place.committed - len(place.acked)
                for partition, place in zip(partitions, places, strict=True)
            ),
        )

    def group_finished(self, topic: str, group: str, segment: Segment) -> bool:
        with self.server.changed:
            self.server.faults.check("group_finished")
            state = self.server.groups.get((topic, group))
            if state is None or segment.end is None:
                return False
            return all(state.places[int(name)].committed >= int(end) for name, end in segment.end.items())

    def place_group(self, topic: str, group: str, cursor: Cursor) -> None:
        with self.server.changed:
            self.server.faults.check("place_group")
            self.server.group(topic, group, self.settings.partitions, cursor)

    # -- administration

    def ensure(self) -> None:
        with self.server.changed:
            self.server.faults.check("ensure")
            for topic in all_topics(self.settings.topics):
                self.server.partitions(topic, self.settings.partitions)

    def seal(self, topic: str, epoch: int) -> None:
        with self.server.changed:
            self.server.faults.check("seal")
            self.server.seals[topic] = max(epoch, self.server.seals.get(topic, 0))

    def unseal(self, topic: str) -> None:
        with self.server.changed:
            self.server.faults.check("unseal")
            self.server.seals.pop(topic, None)

    def facts(self) -> LogFacts:
        with self.server.changed:
            self.server.faults.check("facts")
            found = LogFacts(
                backend="memory",
                version="1",
                durability="none: gone with the process",
                topics={topic: self._topic(topic) for topic in all_topics(self.settings.topics)},
                partitioner="crc32",
                disk_used=0,
                clock=Clock(ahead=0.0, within=0.0),
                rights=Rights(user="memory"),
            )
            return self.server.faults.told(found)

    def _topic(self, topic: str) -> TopicFacts:
        partitions = self.server.topics.get(topic)
        if partitions is None:
            return TopicFacts(exists=False, retained=Retained(entries=0, bytes=0, oldest_seconds=None))
        sizes = [entry.size for partition in partitions for entry in partition.entries]
        age = 0.0 if sizes else None
        retained = Retained(entries=len(sizes), bytes=sum(sizes), oldest_seconds=age)
        return TopicFacts(exists=True, partitions=len(partitions), retained=retained)

    # -- mirror target

    def copier(self, topic: str, source: str, segment: int = 0) -> LogCopier:
        return MemoryCopier(self.server, self.settings, topic, source, segment)

    def copied(self, topic: str, source: str) -> Cursor | None:
        with self.server.changed:
            self.server.faults.check("copied")
            return self.server.copied.get((topic, source))

    # -- Refuge

    @property
    def refuge(self) -> Refuge | None:
        return self if self._stands_in else None

    def note_taken(self, topic: str, group: str, segment: int, cursor: Cursor) -> None:
        with self.server.changed:
            self.server.faults.check("note_taken")
            taken = self.server.taken.setdefault((topic, group), {})
            for partition, place in cursor.items():
                name = f"{segment}:{partition}"
                taken[name] = max(int(place), taken.get(name, 0))

    def taken(self, topic: str, group: str) -> bool:
        with self.server.changed:
            self.server.faults.check("taken")
            return (topic, group) in self.server.taken

    def close_copies(self, topic: str, source: str) -> Cursor | None:
        with self.server.changed:
            self.server.faults.check("close_copies")
            self.server.closed.add((topic, source))
            self.server.sessions[topic, source] = self.server.sessions.get((topic, source), 0) + 1
            return self.server.copied.get((topic, source))

    def open_copies(self, topic: str, source: str, at: Cursor) -> None:
        with self.server.changed:
            self.server.faults.check("open_copies")
            if (topic, source) in self.server.closed:
                self.server.closed.discard((topic, source))
                self.server.copied[topic, source] = dict(at)

    def close(self) -> None:
        """Nothing to give up: the server lives on."""
