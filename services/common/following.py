"""Follows the route of a component in a service, and tells the cutover how far, and how it fares."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from adapters.event_bus.view import RouteView
from adapters.routes import AdapterRegistry, RouteError, RouteMissing, RouteStore
from contracts.routes import Route
from contracts.stages import Component

TELL_SECONDS = 2.0
"""How often status is told, in seconds. Twice as often as a record must be renewed: a cutover that watches it is to
switch back within 10 s."""
_RETRY_SECONDS = 0.5
_log = logging.getLogger(__name__)


class RouteFollower(ABC):
    """A service without a fence: it takes each route as it comes. With a `registry` it makes itself known as `name`;
    without one nobody can switch it, for such a route is at hand and stays as it is. See Lifecycle."""

    component: ClassVar[Component]
    role: ClassVar[str]

    def __init__(self, store: RouteStore, registry: AdapterRegistry | None, name: str) -> None:
        self._store, self._registry, self._name = store, registry, name
        self._trouble: str | None = f"the route of {self.component.value} was not read yet"
        self._news = threading.Event()
        self._stopped = threading.Event()
        self._view = RouteView(store, self.component)
        self._view.listen(self.take)
        slug = self.component.slug
        self._looker = threading.Thread(target=self._look, name=f"{slug}-route-look", daemon=True)
        self._teller = threading.Thread(target=self._tell, name=f"{slug}-heartbeat", daemon=True)
        if registry is None:
            self._look()

    @abstractmethod
    def take(self, route: Route) -> None:
        """Follow `route`, from now on. Called by the watching thread, also where nothing changed for this service."""

    @property
    @abstractmethod
    def epoch(self) -> int:
        """Of the route that is followed."""

    @abstractmethod
    def status(self) -> Mapping[str, str]:
        """What is told beside the epoch."""

    def tell_soon(self) -> None:
        """There is news."""
        self._news.set()

    def ready(self) -> str | None:
        """The probe: without having read the route once, a pod may use a side that is retired."""
        return self._trouble

    def start(self) -> None:
        """See Lifecycle."""
        self._view.start()
        self._looker.start()
        if self._registry is not None:
            self._teller.start()

    def stop(self) -> None:
        """See Lifecycle."""
        self._stopped.set()
        self._news.set()
        self._view.stop()
        self._looker.join(10)
        if self._registry is not None:
            self._teller.join(10)
            self._registry.withdraw(self.component, self._name)

    def _look(self) -> None:
        """Read the route until that was possible once: that there is none yet is not told by a watch."""
        while self._trouble is not None and not self._stopped.is_set():
            try:
                route = self._store.read(self.component).route
            except RouteMissing:
                route = None
            except RouteError as error:
                self._trouble = f"the route of {self.component.value} was not read yet: {error}"
                self._stopped.wait(_RETRY_SECONDS)
                continue
            if route is not None:
                self._view.take(route)
            self._trouble = None

    def _tell(self) -> None:
        registry = self._registry
        while registry is not None and not self._stopped.is_set():
            self._news.clear()
            pause = TELL_SECONDS
            try:
                registry.announce(self.component, self._name, self.role, self.epoch, status=self.status())
            except RouteError as error:
                # Work goes on; a switch that needs our answer aborts by itself.
                _log.warning("could not renew the adapter record: %s", error)
                pause = _RETRY_SECONDS
            self._news.wait(pause)
