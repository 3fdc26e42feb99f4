"""Follows the route of the language model service, and tells the cutover how far, and how the sides fare."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import override

from adapters.routes import AdapterRegistry, RouteStore
from contracts.names import LLM_ORCHESTRATOR_NAME
from contracts.routes import Route
from services.common import metrics
from services.common.following import RouteFollower
from services.llm_orchestrator.choosing import COMPONENT, Plan, plan_of
from services.llm_orchestrator.figures import Figures

_log = logging.getLogger(__name__)


class Follower(RouteFollower):
    """The plan is exchanged whole by the watching thread, and read by the event loop without a lock."""

    component = COMPONENT
    role = LLM_ORCHESTRATOR_NAME

    def __init__(
        self,
        store: RouteStore,
        registry: AdapterRegistry | None,
        name: str,
        figures: Figures,
        configured: Collection[str],
    ) -> None:
        self._figures = figures
        self._configured = frozenset(configured)
        self._plan = plan_of(None, self._configured)
        super().__init__(store, registry, name)

    def plan(self) -> Plan:
        """What the newest route means."""
        return self._plan

    @property
    @override
    def epoch(self) -> int:
        return self._plan.epoch

    @override
    def status(self) -> Mapping[str, str]:
        return self._figures.status()

    @override
    def take(self, route: Route) -> None:
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
        self.tell_soon()
        _log.info("following the route", extra={"epoch": plan.epoch, "active": plan.active, "share": route.share})
