"""The LLM orchestrator as a whole."""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable

from fastapi import FastAPI

from adapters.llm import ChatBackend, open_backend
from adapters.routes import AdapterRegistry, RouteStore
from adapters.routes.memory import MemoryRouteStore
from contracts.llm_limits import Limits
from contracts.routes import Route
from contracts.stages import Stage
from services.common.runner import Abort
from services.common.web import Health
from services.llm_orchestrator.admission import Admission
from services.llm_orchestrator.api import Orchestrator, create_api
from services.llm_orchestrator.breaker import Rules
from services.llm_orchestrator.budgets import RetryBudget
from services.llm_orchestrator.choosing import COMPONENT, NEW
from services.llm_orchestrator.figures import Figures
from services.llm_orchestrator.following import Follower
from services.llm_orchestrator.lanes import Lanes
from services.llm_orchestrator.router import Router
from services.llm_orchestrator.sampler import Sampler
from services.llm_orchestrator.settings import OrchestratorSettings

_OTHER_FILES = 256
_log = logging.getLogger(__name__)


def fixed_route(side: str) -> Route:
    """The route of an orchestrator that is started without a cluster."""
    stage = Stage.COMPLETE if side == NEW else Stage.MVP
    return Route(component=COMPONENT, stage=stage, active=side, epoch=1)


def connector(settings: OrchestratorSettings) -> Callable[[str, str], ChatBackend]:
    """How a side is connected to: with its own key."""
    return lambda side, url: open_backend(
        settings.label(side),
        url,
        settings.key(side),
        timeout=settings.timeout,
        connect_timeout=settings.connect_seconds,
        connecting=settings.connecting,
    )


def rules(limits: Limits) -> Rules:
    """When a model of a side is left alone."""
    return Rules(
        least=limits.breaker_failures,
        rate=limits.breaker_rate,
        window=limits.breaker_window_seconds,
        rest=limits.breaker_rest_seconds,
        longest=limits.breaker_longest_seconds,
    )


def assemble(
    settings: OrchestratorSettings,
    store: RouteStore,
    registry: AdapterRegistry | None,
    connect: Callable[[str, str], ChatBackend],
) -> FastAPI:
    """The app over the route in `store`."""
    lanes = Lanes(settings.parsed_endpoints, connect, rules(settings))
    figures = Figures()
    follower = Follower(store, registry, settings.adapter_name, figures, lanes.sides)
    sampler = Sampler(
        figures,
        tokens=settings.sample_tokens_a_minute,
        concurrency=settings.sample_concurrency,
        seconds=settings.whole_seconds,
    )
    retries = RetryBudget(settings.retries_at_once, settings.retries_a_call, settings.retries_a_second)
    router = Router(lanes, follower.plan, figures, sampler, first_token=settings.first_token_seconds, budget=retries)
    admission = Admission(
        settings.max_in_flight, settings.queue_length, settings.queue_seconds, settings.bodies_mib << 20
    )
    label = settings.label(settings.fixed_side)
    orchestrator = Orchestrator(router, admission, owner=label, whole=settings.whole_seconds)

    async def closing() -> None:
        await sampler.close()
        await lanes.close()

    return create_api(orchestrator, Health(ready={"route": follower.ready}), lifecycle=follower, closing=closing)


def make_room(calls: int) -> None:
    """Let this process have two connections a call. Where a container runtime sets a soft limit, it is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * calls + _OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        _log.warning("at most %d files may be open: %d calls at a time need %d", hard, calls, wanted)
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def build(settings: OrchestratorSettings, abort: Abort) -> FastAPI:
    """The orchestrator's app, with real backends.

    A provider that is away does not make the service unready: callers get an error that says so, in the API's
    own form, which a Service without endpoints could not give them.
    """
    del abort
    make_room(settings.max_in_flight)
    if not settings.routes:
        store: RouteStore = MemoryRouteStore(fixed_route(settings.fixed_side))
        return assemble(settings, store, None, connector(settings))
    # Imported here: an orchestrator that is started without a cluster does not pay for the client.
    from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect

    api = connect()
    store, registry = KubernetesRouteStore(settings.namespace, api), KubernetesRegistry(settings.namespace, api)
    return assemble(settings, store, registry, connector(settings))
