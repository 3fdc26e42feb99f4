"""Makes an event bus from the environment: the one call that services need."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import replace

from adapters.event_bus.backends import open_log
from adapters.event_bus.base import LogSettings
from adapters.event_bus.routed import RoutedEventBus
from adapters.routes.base import AdapterRegistry, RouteStore
from adapters.routes.memory import MemoryRouteStore
from contracts import names
from contracts.routes import Route, Segment
from contracts.stages import Component, Stage

_STAGE_OF_TYPE = {"redis": Stage.MVP, "kafka": Stage.COMPLETE, "memory": Stage.MVP}


class BadEnvironment(ValueError):
    """An environment variable that cannot be used: its name, value, what follows and the fix."""


def settings_from_env(env: Mapping[str, str] = os.environ) -> LogSettings:
    """Topics, partitions and limits from the environment. Raises BadEnvironment."""
    topics = tuple(t.strip() for t in env.get(names.ENV_TOPICS, ",".join(names.TOPICS)).split(",") if t.strip())
    for topic in topics:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}", topic):
            raise BadEnvironment(
                f"{names.ENV_TOPICS} names the topic {topic!r}, which Kafka could not hold: nothing was started. "
                "Use letters, digits, '.', '_' and '-'"
            )
    if not topics:
        raise BadEnvironment(f"{names.ENV_TOPICS} is empty: there would be nothing to publish to. Name the topics")
    return LogSettings(
        topics=topics,
        partitions=_number(env, names.ENV_PARTITIONS, names.DEFAULT_PARTITIONS),
        max_event_bytes=_number(env, names.ENV_MAX_EVENT_BYTES, names.DEFAULT_MAX_EVENT_BYTES),
    )


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise BadEnvironment(f"{name} is {text!r}: nothing was started. Give a whole number of at least 1")
    return int(text)


def open_bus(client_id: str, env: Mapping[str, str] = os.environ) -> RoutedEventBus:
    """The event bus of this process.

    With CROSSOVER_ROUTES=kubernetes it follows the route and can be switched; otherwise
    EVENT_BUS_TYPE names the one backend that it uses. Raises BadEnvironment.
    """
    settings = settings_from_env(env)
    pod = env.get(names.ENV_POD_NAME) or socket.gethostname()
    name = re.sub(r"[^a-z0-9.-]", "-", f"{pod}.{client_id}".lower())
    store, registry = _routes(env, settings)
    if registry is not None:
        settings = replace(settings, topics=())  # the route says which there are, also those that are added later
    return RoutedEventBus(store, lambda backend: open_log(backend, settings, env), settings, name, registry)


def _routes(env: Mapping[str, str], settings: LogSettings) -> tuple[RouteStore, AdapterRegistry | None]:
    kind = env.get(names.ENV_ROUTES, "")
    if kind == "kubernetes":
        # Imported here: a service that is started without a cluster does not pay for the client.
        from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect

        namespace = env.get(names.ENV_NAMESPACE, names.NAMESPACE)
        api = connect()
        return KubernetesRouteStore(namespace, api), KubernetesRegistry(namespace, api)
    if kind:
        raise BadEnvironment(
            f"{names.ENV_ROUTES} is {kind!r}: the route would not be followed. Use 'kubernetes', or unset it and "
            f"set {names.ENV_EVENT_BUS_TYPE}"
        )
    return MemoryRouteStore(fixed_route(env.get(names.ENV_EVENT_BUS_TYPE, ""), settings)), None


def fixed_route(backend: str, settings: LogSettings) -> Route:
    """The route of a service that is started without a cluster. Raises BadEnvironment."""
    if backend not in _STAGE_OF_TYPE:
        raise BadEnvironment(
            f"{names.ENV_EVENT_BUS_TYPE} is {backend!r}: there is no such event bus. Use redis or kafka, or set "
            f"{names.ENV_ROUTES}=kubernetes to follow the cluster's route"
        )
    segment = Segment(backend=backend, epoch=1, start={}, copies=True)
    return Route(
        component=Component.EVENT_BUS,
        stage=_STAGE_OF_TYPE[backend],
        active=backend,
        epoch=1,
        chains=dict.fromkeys(names.all_topics(settings.topics), (segment,)),
    )
