"""The consuming half of the routed bus: one log made of a chain of segments.

A member reads the oldest segment that its group has not finished, to its sealed end, and goes
on in the next one. How it goes along the chain is chain_reader.py; here is the thread that waits,
and the handing out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from adapters import metrics
from adapters.event_bus.base import EventLog, Stored
from adapters.event_bus.bookmarks import Bookmarks
from adapters.event_bus.chain_reader import ChainReader, Turn
from adapters.event_bus.dead_letters import applies, letter
from adapters.event_bus.errors import EventBusError, RetryableError
from adapters.event_bus.gate import FENCE_HOLD_SECONDS
from adapters.event_bus.interface import Handler, RejectEvent
from adapters.event_bus.view import RouteView
from contracts.envelope import Event, new_event_id
from contracts.routes import Route

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
BATCH_ATTEMPTS = 3
"""How often a whole batch is tried before its events are tried one by one."""
EVENT_ATTEMPTS = 5
"""How often one event is tried before it goes to the dead-letter topic."""
_ROUTE_SECONDS = 5.0
_BACKOFF_SECONDS = (0.05, 0.1, 0.3, 0.5, 1.0, 3.0)
"""By attempt; retryable failures stay at the first, failing handlers go up."""


class Consumer:
    """One member of `group`, reading one topic on its own thread."""

    def __init__(
        self,
        view: RouteView,
        open_log: Callable[[str], EventLog],
        topic: str,
        group: str,
        member: str,
        handler: Handler,
        set_aside: Callable[[Event], None],
        *,
        max_batch: int,
        start: str,
        follows_routes: bool,
        bookmarks: Bookmarks,
    ) -> None:
        self._view = view
        self._topic = topic
        self._group = group
        self._handler = handler
        self._set_aside = set_aside
        self._stopped = threading.Event()
        self._chain = ChainReader(
            open_log, topic, group, member, self._take, max_batch=max_batch, start=start,
            newest=view.ask if follows_routes else None, bookmarks=bookmarks,
        )  # fmt: skip
        self._fence: tuple[int, float] = (0, 0.0)
        self._held_for = 0
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"bus-{group}-{topic}", daemon=True)
        self._thread.start()

    @property
    def group(self) -> str:
        """The consumer group that it reads as."""
        return self._group

    @property
    def segment_epoch(self) -> int:
        """The epoch of the segment being read; 0 before the first."""
        return self._chain.segment_epoch

    def give_up(self) -> None:
        """Wait for the backend no more: it is dead. What is in hand is finished."""
        self._chain.give_up()

    def holds(self, epoch: int) -> bool:
        """Whether it has nothing in hand and takes nothing, for the emergency's fence of `epoch`."""
        return self._held_for == epoch or not self._thread.is_alive()

    def stop(self) -> None:
        """Ask it to finish the batch in hand and leave."""
        self._stopped.set()

    def join(self, timeout: float) -> bool:
        """Whether it ended within `timeout` s."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set() and not self._view.stopped:
                try:
                    if self._step():
                        continue
                except RetryableError as error:
                    _log.warning("%s of %s: %s; trying again", self._group, self._topic, error)
                self._stopped.wait(0.2)  # a backend that is away, or no route yet: nothing announces it
            self._chain.leave()
        except BaseException as error:
            # The thread ends here: whoever owns the subscription must be able to see why.
            _log.exception("%s stopped reading %s", self._group, self._topic)
            self.failure = error

    def _step(self) -> bool:
        """Read once. False where there is nothing to read yet."""
        route = self._view.current
        fence = self._emergency(route)
        if fence:
            self._chain.flee()
            self._held_for = fence
            self._view.wait_for(lambda r: r is not route, POLL_SECONDS)
            return True
        turn = self._chain.step(route, POLL_SECONDS)
        if turn is Turn.AWAIT_ROUTE:
            epoch = self._chain.awaited_epoch
            _log.info("%s waits for the route of epoch %d before it reads on in %s", self._group, epoch, self._topic)
            self._view.wait_for(lambda r: r is not None and r.epoch >= epoch, _ROUTE_SECONDS)
        return turn is not Turn.IDLE

    def _emergency(self, route: Route | None) -> int:
        """The epoch of an emergency's fence in force; 0 where there is none. One that nobody opens ends by itself."""
        fence = route.fence if route is not None else None
        if fence is None or not fence.emergency:
            return 0
        now = time.monotonic()
        if self._fence[0] != fence.epoch:
            self._fence = fence.epoch, now
        return fence.epoch if now - self._fence[1] <= FENCE_HOLD_SECONDS else 0

    # -- handing out

    def _take(self, entries: Sequence[Stored]) -> bool:
        events: list[Event] = []
        for entry in entries:
            if entry.event is None:
                self._reject_unreadable(entry)
            elif applies(entry.event, self._group):
                events.append(entry.event)
        return self._deliver(events)

    def _deliver(self, events: list[Event]) -> bool:
        """Hand `events` out until all took effect or were set aside. False where stopped before that."""
        attempt = 0
        while events:
            try:
                self._handler(events)
                return True
            except RejectEvent as rejected:
                events = self._reject(events, rejected)
                continue
            except RetryableError as error:
                _log.warning("%s could not take a batch of %s: %s", self._group, self._topic, error)
            except Exception:
                attempt += 1
                _log.exception("the handler of %s failed on a batch of %s", self._group, self._topic)
                if attempt >= BATCH_ATTEMPTS:
                    return self._deliver_singly(events)
            metrics.HANDLER_FAILED.labels(self._topic, self._group).inc()
            if self._stopped.wait(_BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)]):
                return False
        return True

    def _deliver_singly(self, events: list[Event]) -> bool:
        for event in events:
            attempt = 0
            while True:
                try:
                    self._handler([event])
                    break
                except RejectEvent as rejected:
                    self._send_aside(event, rejected.cause, attempt + 1)
                    break
                except RetryableError as error:
                    _log.warning("%s could not take event %s: %s", self._group, event.id, error)
                except Exception as error:
                    attempt += 1
                    if attempt >= EVENT_ATTEMPTS:
                        self._send_aside(event, f"{error.__class__.__name__}: {error}", attempt)
                        break
                if self._stopped.wait(_BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)]):
                    return False
        return True

    def _reject(self, events: list[Event], rejected: RejectEvent) -> list[Event]:
        kept = [event for event in events if event.id != rejected.event_id]
        if len(kept) == len(events):
            raise ValueError(f"the handler rejected {rejected.event_id}, which was not in its batch") from rejected
        for event in events:
            if event.id == rejected.event_id:
                self._send_aside(event, rejected.cause, 1)
        return kept

    def _reject_unreadable(self, entry: Stored) -> None:
        self._dead_letter("unreadable", entry.raw, f"unreadable entry {entry.position}: {entry.error}", 1, {})

    def _send_aside(self, event: Event, cause: str, attempts: int) -> None:
        attributes = {name: value.decode() for name, value in event.headers().items()}
        self._dead_letter(event.key, event.payload, cause, attempts, attributes)

    def _dead_letter(self, key: str, payload: bytes, cause: str, attempts: int, attributes: dict[str, str]) -> None:
        event = letter(self._topic, self._group, key, payload, cause=cause, attempts=attempts, attributes=attributes)
        _log.error("set aside an event of %s for %s: %s (dead letter %s)", self._topic, self._group, cause, event.id)
        try:
            self._set_aside(event)
        except EventBusError as error:
            raise RetryableError(f"the dead letter {event.id} could not be published: {error}") from error
        metrics.DEAD_LETTERED.labels(self._topic, self._group).inc()


def member_name(client_id: str) -> str:
    """A member name that is this process's own: a restarted pod is another member."""
    return f"{client_id}-{new_event_id()[-12:]}"
