"""The route as this process knows it: kept by a watching thread, read by everyone else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from adapters.event_bus.errors import RetryableError
from adapters.routes.base import RouteError, RouteStore
from contracts.routes import Route
from contracts.stages import Component

_log = logging.getLogger(__name__)


class RouteView:
    """The newest route of one component. Listeners run on the watching thread, in order.

    A route older than the newest seen (a lagging watch) is passed over, so that an epoch never
    goes back.
    """

    def __init__(self, store: RouteStore, component: Component) -> None:
        self._store = store
        self._component = component
        self._changed = threading.Condition()
        self._route: Route | None = None
        self._listeners: list[Callable[[Route], None]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"route-{component.slug}", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; waiting callers are let go."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether stop() was called."""
        return self._stopped.is_set()

    @property
    def current(self) -> Route | None:
        """The newest route, or None where none was seen yet."""
        return self._route

    def listen(self, listener: Callable[[Route], None]) -> None:
        """Call `listener` at each change from now on, and now where a route is known."""
        with self._changed:
            self._listeners.append(listener)
            route = self._route
        if route is not None:
            listener(route)

    def wait_for(self, wanted: Callable[[Route | None], bool], timeout: float) -> bool:
        """Wait until `wanted` holds of the route, or the view stops; whether it holds. Seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not wanted(self._route):
                left = deadline - time.monotonic()
                if left <= 0 or self.stopped:
                    return wanted(self._route)
                self._changed.wait(left)
            return True

    def ask(self) -> Route | None:
        """The route as its store has it now; it becomes not the current one, for a watch that lags could take that
        back within an epoch. Raises RetryableError where the store does not answer."""
        try:
            return self._store.read(self._component).route
        except RouteError as error:
            raise RetryableError(f"the route of {self._component.value} could not be asked for: {error}") from error

    def _run(self) -> None:
        while not self.stopped:
            try:
                self._store.watch(self._component, self.take, self._stopped.is_set)
            except Exception:
                # Whatever happens here, data must go on under the last route.
                _log.exception("watching the route of %s failed; going on with the last route", self._component.value)
                self._stopped.wait(1.0)

    def take(self, route: Route) -> None:
        """Take `route` for the newest, unless its epoch is older, and tell the listeners."""
        with self._changed:
            if self._route is not None and route.epoch < self._route.epoch:
                return
            self._route = route
            listeners = list(self._listeners)
            self._changed.notify_all()
        for listener in listeners:
            listener(route)
