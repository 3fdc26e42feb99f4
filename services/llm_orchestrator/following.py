"""Follows the route of the language model service, and tells the cutover how far, and how the sides fare."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection

from adapters.event_bus.view import RouteView
from adapters.routes import AdapterRegistry, RouteError, RouteMissing, RouteStore
from contracts.names import LLM_ORCHESTRATOR_NAME
from contracts.routes import Route
from services.common import metrics
from services.llm_orchestrator.choosing import COMPONENT, Plan, plan_of
from services.llm_orchestrator.figures import Figures

ROLE = LLM_ORCHESTRATOR_NAME
TELL_SECONDS = 2.0
"""How often the figures are told, in seconds. Twice as often as a record must be renewed: a cutover that watches them
is to switch back within 10 s."""
_RETRY_SECONDS = 0.5
_log = logging.getLogger(__name__)


class Follower:
    """The plan is exchanged whole by the watching thread, and read by the event loop without a lock. With a `registry`
    the orchestrator makes itself known as `name`; without one nobody can switch it. See Lifecycle."""

    def __init__(
        self,
        store: RouteStore,
        registry: AdapterRegistry | None,
        name: str,
        figures: Figures,
        configured: Collection[str],
    ) -> None:
        self._store = store
        self._registry = registry
        self._name = name
        self._figures = figures
        self._configured = frozenset(configured)
        self._plan = plan_of(None, self._configured)
        self._trouble: str | None = "the route of the language model service was not read yet"
        self._news = threading.Event()
        self._stopped = threading.Event()
        self._view = RouteView(store, COMPONENT)
        self._view.listen(self._take)
        self._looker = threading.Thread(target=self._look, name="llm-route-look", daemon=True)
        self._teller = threading.Thread(target=self._tell, name="llm-heartbeat", daemon=True)
        if registry is None:
            # Such a route is at hand and stays as it is.
            self._look()

    def plan(self) -> Plan:
        """What the newest route means."""
        return self._plan

    def ready(self) -> str | None:
        """The probe: without having read the route once, a pod may ask a side that is retired."""
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
            self._registry.withdraw(COMPONENT, self._name)

    def _take(self, route: Route) -> None:
        plan = plan_of(route, self._configured)
        if plan == self._plan:
            return  # a cutover notes its steps in the route, too
        if plan.active not in self._configured:
            _log.error(
                "the route names %s and LLM_ENDPOINTS does not: calls go to %s. Add its endpoints",
                plan.active,
                plan.other or "nobody and fail",
            )
        self._figures.begin(plan.epoch)
        self._plan = plan
        metrics.LLM_EPOCH.set(plan.epoch)
        self._news.set()
        _log.info("following the route", extra={"epoch": plan.epoch, "active": plan.active, "share": route.share})

    def _look(self) -> None:
        """Read the route until that was possible once: that there is none yet is not told by a watch."""
        while self._trouble is not None and not self._stopped.is_set():
            try:
                route = self._store.read(COMPONENT).route
            except RouteMissing:
                route = None
            except RouteError as error:
                self._trouble = f"the route of the language model service was not read yet: {error}"
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
                registry.announce(COMPONENT, self._name, ROLE, self._plan.epoch, status=self._figures.status())
            except RouteError as error:
                # Calls go on; a switch that needs our answer aborts by itself.
                _log.warning("could not renew the adapter record: %s", error)
                pause = _RETRY_SECONDS
            self._news.wait(pause)
