"""The event bus that services use: publishing and consuming across whatever the route says."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future

from adapters.event_bus.base import EventLog, LogSettings, Stored
from adapters.event_bus.bookmarks import Bookmarks, Keeper
from adapters.event_bus.chain_scan import scan_chain
from adapters.event_bus.consumer import Consumer, member_name
from adapters.event_bus.errors import BackendUnavailable, EventBusError, PublishTimeout
from adapters.event_bus.gate import Gate
from adapters.event_bus.interface import EventBus, Handler, Receipt, Subscription
from adapters.event_bus.lag import LagMeter, Reading
from adapters.event_bus.publisher import Publisher
from adapters.event_bus.view import RouteView
from adapters.routes.base import AdapterRegistry, RouteError, RouteStore
from contracts.envelope import DEFAULT_TYPE, Event
from contracts.registry import RENEW_SECONDS, Tail
from contracts.stages import Component

_log = logging.getLogger(__name__)

_HAND_SECONDS = 2.0
"""How long an emergency's fence waits for the batches that consumers have in hand. One that takes longer may be
given again to another member: as where a member is frozen."""


class _Subscription(Subscription):
    def __init__(self, view: RouteView, consumers: dict[str, Consumer]) -> None:
        self._view = view
        self._consumers = consumers

    def close(self, timeout: float = 10.0) -> None:
        for consumer in self._consumers.values():
            consumer.stop()
        for consumer in self._consumers.values():
            if not consumer.join(timeout):
                _log.warning("a consumer did not end within %g s; its unacknowledged events are redelivered", timeout)

    @property
    def failure(self) -> BaseException | None:
        return next((c.failure for c in self._consumers.values() if c.failure is not None), None)

    @property
    def consumers(self) -> Sequence[Consumer]:
        """One a topic."""
        return tuple(self._consumers.values())

    def readings(self) -> list[Reading]:
        """What is read now, by topic: the group and the backend."""
        route = self._view.current
        found = []
        for topic, consumer in self._consumers.items():
            chain = route.chain(topic) if route and topic in route.chains else ()
            found += [(topic, consumer.group, s.backend) for s in chain if s.epoch == consumer.segment_epoch]
        return found

    def position(self, topic: str) -> int:
        route = self._view.current
        epochs = [segment.epoch for segment in route.chain(topic)] if route else []
        epoch = self._consumers[topic].segment_epoch
        return epochs.index(epoch) if epoch in epochs else 0


class RoutedEventBus(EventBus):
    """Follows the route of the event bus; switches without a restart.

    `open_log` makes the backend of a name, once: instances are kept. With a `registry`, the bus
    makes itself known as `name` and acknowledges fences; without one it cannot be fenced, which
    is right only where nobody can switch it (EVENT_BUS_TYPE given).
    """

    def __init__(
        self,
        store: RouteStore,
        open_log: Callable[[str], EventLog],
        settings: LogSettings,
        name: str,
        registry: AdapterRegistry | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._make_log = open_log
        self._logs: dict[str, EventLog] = {}
        self._logs_lock = threading.Lock()
        self._registry = registry
        self._acknowledged = 0
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._subscriptions: list[_Subscription] = []
        self._view = RouteView(store, Component.EVENT_BUS)
        self._bookmarks = Bookmarks(self._log_of)
        self._publisher = Publisher(self._log_of, settings, name, self._acknowledge)
        self._view.listen(self._publisher.on_route)
        self._publisher.start()
        self._keeper = Keeper(self._log_of, self._bookmarks, self._publisher.journal, lambda: self._view.current)
        self._lag = LagMeter(self._log_of, self._readings)
        self._heartbeat = threading.Thread(target=self._announce, name="bus-heartbeat", daemon=True)
        if registry is not None:
            self._heartbeat.start()
        self._view.start()

    # -- publishing

    def publish(
        self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE, timeout: float | None = None
    ) -> Receipt:
        result = self.publish_future(topic, key, payload, type=type)
        limit = self._settings.publish_timeout if timeout is None else timeout
        try:
            return result.result(limit)
        except TimeoutError as error:
            raise PublishTimeout(
                f"the event for {topic!r} was not durable within {limit:g} s: it may or may not become so. "
                "Publish the same event id again (publish_event) to be sure"
            ) from error

    def publish_event(self, event: Event) -> Future[Receipt]:
        return self._publisher.publish(event)

    def publish_batch(self, events: Sequence[Event]) -> Future[Sequence[Receipt]]:
        return self._publisher.publish_batch(events)

    def publish_future(self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE) -> Future[Receipt]:
        return self._publisher.publish(Event.create(topic, key, payload, source=f"crossover/{self._name}", type=type))

    def publish_async(self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE) -> Awaitable[Receipt]:
        async def submit() -> Receipt:
            # Back-pressure blocks, so it must not happen on the event loop.
            accepted = await asyncio.to_thread(self.publish_future, topic, key, payload, type=type)
            return await asyncio.wrap_future(accepted)

        return submit()

    # -- consuming

    def subscribe(
        self, topics: Sequence[str], group: str, handler: Handler, *, max_batch: int = 256, start: str = "earliest"
    ) -> Subscription:
        if start not in ("earliest", "latest"):
            raise ValueError(f"start is {start!r}: a new group starts at 'earliest' or 'latest'")
        member = member_name(self._name)
        consumers = {
            topic: Consumer(
                self._view,
                self._log_of,
                topic,
                group,
                member,
                handler,
                self._set_aside,
                max_batch=max_batch,
                start=start,
                follows_routes=self._registry is not None,
                bookmarks=self._bookmarks,
            )
            for topic in topics
        }
        subscription = _Subscription(self._view, consumers)
        self._subscriptions.append(subscription)
        return subscription

    def stored(self, topic: str) -> Iterator[Stored]:
        """All that `topic` holds now, from its oldest retained event on, outside any group.

        Raises UnknownTopic, and BackendUnavailable where a backend of its chain, or the route, cannot be had.
        """
        self._view.wait_for(lambda route: route is not None, self._settings.publish_timeout)
        route = self._view.current
        if route is None:
            raise BackendUnavailable(f"no route of the event bus was seen: where {topic!r} lies is not known")
        return scan_chain(route, topic, self._log_of)

    def _set_aside(self, letter: Event) -> None:
        self.publish_event(letter).result(self._settings.publish_timeout)

    # -- life

    def ready(self) -> str | None:
        if self._closed.is_set():
            return "the event bus is closed"
        if self._view.current is None:
            return "no route of the event bus was seen yet: the Transition has not run, or the API server is away"
        for subscription in self._subscriptions:
            if subscription.failure is not None:
                return f"a subscription failed: {subscription.failure}"
        return None

    @property
    def epoch(self) -> int:
        """The epoch of the route that is followed; 0 before the first."""
        route = self._view.current
        return route.epoch if route else 0

    @property
    def gate(self) -> Gate:
        """The state of the publishing gate."""
        return self._publisher.gate

    def close(self, timeout: float = 10.0) -> None:
        for subscription in self._subscriptions:
            subscription.close(timeout)
        self._publisher.close(timeout)
        self._lag.stop(timeout)
        self._keeper.stop(timeout)
        self._closed.set()
        self._wake.set()
        self._view.stop()
        if self._registry is not None:
            self._heartbeat.join(timeout)
            self._registry.withdraw(Component.EVENT_BUS, self._name)
        with self._logs_lock:
            logs, self._logs = list(self._logs.values()), {}
        for log in logs:
            log.close()

    def _readings(self) -> list[Reading]:
        return [reading for subscription in self._subscriptions for reading in subscription.readings()]

    def _log_of(self, backend: str) -> EventLog:
        with self._logs_lock:
            if backend not in self._logs:
                self._logs[backend] = self._make_log(backend)
            return self._logs[backend]

    # -- the registry

    def _acknowledge(self, epoch: int) -> None:
        fence = self._view.current.fence if self._view.current else None
        if fence is not None and fence.emergency:
            self._let_go(fence.epoch)
        self._acknowledged = epoch
        self._wake.set()

    def _let_go(self, epoch: int) -> None:
        """Consumers finish what they have in hand, and what they took is told where traffic flees to."""
        consumers = [consumer for subscription in self._subscriptions for consumer in subscription.consumers]
        for consumer in consumers:
            consumer.give_up()
        deadline = time.monotonic() + _HAND_SECONDS
        while not all(consumer.holds(epoch) for consumer in consumers) and time.monotonic() < deadline:
            time.sleep(0.01)  # a handler that returns announces nothing here
        try:
            self._bookmarks.flush()
        except EventBusError as error:
            _log.warning("what groups took could not be told, they may be given some of it again: %s", error)

    def _reached(self) -> int:
        """The epoch that this adapter follows: not yet the newest where events are still on their way to the backend
        that traffic fled to."""
        return self.epoch - 1 if self._publisher.moving else max(self._acknowledged, self.epoch)

    def _stranded(self) -> dict[str, Tail]:
        """In and after an emergency: by topic, what was acknowledged and not copied."""
        route = self._view.current
        if route is None:
            return {}
        copied: dict[str, dict[str, str]] = {t: tail.copied for t, tail in (route.stranded or {}).items()}
        if route.fence is not None and route.fence.copied is not None:
            copied = route.fence.copied
        return self._publisher.journal.beyond(copied)

    def _announce(self) -> None:
        registry = self._registry
        while registry is not None and not self._closed.is_set():
            self._wake.clear()
            pause = RENEW_SECONDS
            try:
                registry.announce(
                    Component.EVENT_BUS, self._name, "bus", self._reached(), self._lag.lag, self._stranded()
                )
            except RouteError as error:
                # Data goes on; a switch that needs our answer aborts by itself.
                _log.warning("could not renew the adapter record: %s", error)
                pause = 0.5
            self._wake.wait(pause)
