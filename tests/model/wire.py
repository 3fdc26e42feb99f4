"""The in-memory logs as the model sees them: every call may be interrupted, and writing takes its time."""

from __future__ import annotations

import contextlib
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from adapters.event_bus.base import ORIGIN_HEADER, LogSettings, LogWriter
from adapters.event_bus.errors import BusClosed, EventBusError, Fenced, PublishTimeout
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_reader import MemoryReader
from adapters.event_bus.memory_server import Faults, MemoryServer
from contracts.envelope import Event
from contracts.routes import Segment

TOPIC = "t"
SETTINGS = LogSettings(topics=(TOPIC,), partitions=2, publish_timeout=1e9)


class InterruptibleFaults(Faults):
    """Calls `between` before each operation that a log does."""

    between: Callable[[str], None]

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """The model looks into a backend that is down."""
        down, self._down = self._down, False
        try:
            yield
        finally:
            self._down = down

    def check(self, operation: str) -> None:
        self.between(operation)
        super().check(operation)


class ModelServer(MemoryServer):
    """A server that tells of each event that a writer stored."""

    faults: InterruptibleFaults

    def __init__(
        self, clock: Callable[[], float], between: Callable[[str], None], written: Callable[[str, int, str], None]
    ) -> None:
        super().__init__(clock)
        self.faults = InterruptibleFaults(self.changed)
        self.faults.between = between
        self._written = written

    def append(self, topic: str, count: int, key: str | None, headers: Mapping[str, bytes], payload: bytes) -> str:
        if ORIGIN_HEADER not in headers:
            self._written(headers["ce_source"].decode(), int(headers["ce_epoch"]), headers["ce_id"].decode())
        return super().append(topic, count, key, headers, payload)


@dataclass(slots=True, eq=False)
class Item:
    """An event on its way: `outcome` is what the server made of it, once it came there."""

    event: Event
    future: Future[str]
    outcome: str | EventBusError | None = None


class SlowWriter(LogWriter):
    """A writer with the rules of lanes.py: one batch is under way at a time, and a refusal refuses all that
    was submitted after it. A batch comes to the server partition by partition, and its answer later still."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self._queue: deque[Item] = deque()
        self.under_way: list[Item] = []
        self._closed = False

    def warm(self, topics: Collection[str]) -> None:
        """Nothing: there is no connection."""

    def submit(self, event: Event) -> Future[str]:
        if self._closed:
            raise BusClosed("the writer is closed")
        item = Item(event, Future())
        self._queue.append(item)
        return item.future

    def send(self) -> None:
        """A batch is sent, or the next partition of the one under way arrives."""
        if not self.under_way:
            self.under_way = list(self._queue)
            self._queue.clear()
        self.arrive()

    def arrive(self) -> None:
        """The next partition of what is under way comes to the server."""
        waiting = [item for item in self.under_way if item.outcome is None]
        if not waiting or self.server.faults.in_the_way(TOPIC):
            return
        first = _partition(waiting[0].event)
        with self.server.changed:
            for item in waiting:
                if _partition(item.event) == first:
                    item.outcome = self._stored(item.event)

    def answer(self, *, timed_out: bool = False) -> None:
        """The answer to the whole batch comes back; or none came in time."""
        if timed_out:
            for item in self.under_way:
                item.outcome = PublishTimeout("no answer in time")
        if any(item.outcome is None for item in self.under_way):
            return
        done, self.under_way = self.under_way, []
        refusal = next((item.outcome for item in done if isinstance(item.outcome, Fenced)), None)
        if refusal is not None:
            for item in self._queue:
                item.outcome = refusal
                done.append(item)
            self._queue.clear()
        for item in done:
            if isinstance(item.outcome, str):
                item.future.set_result(item.outcome)
            else:
                item.future.set_exception(item.outcome)

    def lose(self, server: MemoryServer) -> None:
        """Where it writes to `server`: the connection is gone, and with it whatever was on its way."""
        if server is not self.server:
            return
        self.under_way += self._queue
        self._queue.clear()
        self.answer(timed_out=True)

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._queue and not self.under_way

    def drain(self, timeout: float) -> bool:
        return self.idle

    def close(self) -> None:
        self._closed = True

    def _stored(self, event: Event) -> str | EventBusError:
        epoch = self.server.seals.get(TOPIC)
        if epoch is not None:
            return Fenced(f"sealed since epoch {epoch}")
        return self.server.append(TOPIC, SETTINGS.partitions, event.key, event.headers(), event.payload)


def _partition(event: Event) -> int:
    return zlib.crc32(event.key.encode()) % SETTINGS.partitions


class Backend(MemoryLog):
    """A view of a backend: traffic flees to Redis only."""

    def __init__(self, name: str, server: MemoryServer) -> None:
        super().__init__(name, SETTINGS, server, stands_in=name == "redis")


class ModelLog(Backend):
    """A publisher's view of a backend: its writers are slow."""

    def __init__(self, name: str, server: MemoryServer, made: Callable[[SlowWriter], None]) -> None:
        super().__init__(name, server)
        self._made = made

    def writer(self, client_id: str) -> SlowWriter:  # type: ignore[override]  # the fake's own type is narrower
        writer = SlowWriter(self.server)
        self._made(writer)
        return writer


class MortalReader(MemoryReader):
    """A reader that leaves its group without a word where its process is killed."""

    dead: Callable[[], bool]

    def close(self) -> None:
        if self.dead():
            self.abandon()
        else:
            super().close()


class MortalLog(Backend):
    """A consumer's view of a backend: `dead` says whether the process that closes a reader is being killed."""

    def __init__(self, name: str, server: MemoryServer, dead: Callable[[], bool]) -> None:
        super().__init__(name, server)
        self._dead = dead

    def reader(self, topic: str, group: str, member: str, segment: Segment) -> MortalReader:
        reader = MortalReader(self.server, self.settings, topic, group, member, segment)
        reader.dead = self._dead
        return reader
