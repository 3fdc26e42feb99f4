"""What clients of the event bus get: addresses, credentials, rights in Kubernetes, network edges. Pure.

All of it is the same at every stage, and names both backends, so that a switch restarts nobody: which
of the two serves is the route's word. EVENT_BUS_TYPE is left out on purpose: with CROSSOVER_ROUTES=kubernetes
nothing reads it, and a fixed value would be wrong at half of the stages.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.kafka import CONTROLLER_PORT
from components.manifests import metadata, role, role_binding, rule, service_account
from components.networking import allow, edge, pods_labelled, pods_of, to_api
from components.pods import Manifest
from components.settings import Settings
from contracts import names
from contracts.registry import LABEL_ADAPTER
from contracts.routes import route_name
from contracts.stages import Component

CLIENT = names.BUS_CLIENT_NAME
"""ConfigMap and Secret with the environment of a bus client (use both with envFrom, and give POD_NAME
and POD_UID), and a ServiceAccount with an adapter's rights for clients of your own."""
CUTOVER = "crossover-cutover"
"""App, ServiceAccount and Secret of the Transition Jobs."""
MIRROR = names.MIRROR_NAME
COMPONENT = Component.EVENT_BUS


def addresses(settings: Settings) -> dict[str, str]:
    """The environment of every bus client, but for credentials."""
    bus = settings.event_bus
    return {
        names.ENV_ROUTES: "kubernetes",
        names.ENV_NAMESPACE: settings.namespaces.backend,
        names.ENV_PARTITIONS: str(bus.partitions),
        names.ENV_MAX_EVENT_BYTES: str(bus.max_event_bytes),
        names.ENV_REDIS_URL: f"redis://{names.REDIS_NAME}:{names.REDIS_PORT}/0",
        names.ENV_KAFKA_BOOTSTRAP: f"{names.KAFKA_NAME}:{names.KAFKA_PORT}",
    }


def env_from(secret_name: str) -> list[Manifest]:
    """`envFrom` of a bus client with the credentials in `secret_name`."""
    return [{"configMapRef": {"name": CLIENT}}, {"secretRef": {"name": secret_name}}]


def route_rules(component: Component, verbs: list[str]) -> list[Manifest]:
    """Rights on the one route of `component`."""
    return [rule("", "configmaps", verbs, [route_name(component)])]


def adapter_rules(component: Component) -> list[Manifest]:
    """An adapter reads the one route and keeps a Lease of its own, whose name holds its pod's, so it cannot be
    named here."""
    leases = rule("coordination.k8s.io", "leases", ["create", "patch", "delete"])
    return [*route_rules(component, ["get", "list", "watch"]), leases]


def cutover_rules(component: Component) -> list[Manifest]:
    """A cutover writes the route, under a Lease, and sees which adapters and pods are there."""
    return [
        *route_rules(component, ["get", "list", "watch", "patch"]),
        rule("coordination.k8s.io", "leases", ["get", "list", "create", "patch", "delete"]),
        rule("", "pods", ["list"]),
    ]


def rights(settings: Settings, adapters: list[str]) -> list[Manifest]:
    """Roles and bindings. `adapters`: the service accounts of services with an adapter. A mirror reads the route."""
    namespace = settings.namespaces.backend
    return [
        *(service_account(account, namespace) for account in (CLIENT, MIRROR, CUTOVER)),
        role("event-bus-adapter", namespace, adapter_rules(COMPONENT)),
        role_binding("event-bus-adapter", namespace, "event-bus-adapter", [CLIENT, *adapters]),
        role(MIRROR, namespace, route_rules(COMPONENT, ["get", "list", "watch"])),
        role_binding(MIRROR, namespace, MIRROR, [MIRROR]),
        role(CUTOVER, namespace, cutover_rules(COMPONENT)),
        role_binding(CUTOVER, namespace, CUTOVER, [CUTOVER]),
    ]


def edges(settings: Settings) -> list[Manifest]:
    """Clients (pods with the adapter label), the mirror and the cutover reach both backends and the
    Kubernetes API; Kafka's nodes reach each other."""
    namespace = settings.namespaces.backend
    adapters = pods_labelled(LABEL_ADAPTER, COMPONENT.slug)
    clients = [adapters, pods_of(MIRROR), pods_of(CUTOVER)]
    redis, kafka = pods_of(names.REDIS_NAME), pods_of(names.KAFKA_NAME)
    kafka_ports = [names.KAFKA_PORT, CONTROLLER_PORT]
    out = [edge("to", [redis], [names.REDIS_PORT]), edge("to", [kafka], [names.KAFKA_PORT]), to_api()]
    return [
        allow(names.REDIS_NAME, namespace, redis, ingress=[edge("from", clients, [names.REDIS_PORT])]),
        allow(
            names.KAFKA_NAME,
            namespace,
            kafka,
            ingress=[edge("from", clients, [names.KAFKA_PORT]), edge("from", [kafka], kafka_ports)],
            egress=[edge("to", [kafka], kafka_ports)],
        ),
        allow("event-bus-adapters", namespace, adapters, egress=out),
        allow(MIRROR, namespace, pods_of(MIRROR), egress=out),
        allow(CUTOVER, namespace, pods_of(CUTOVER), egress=out),
    ]


def route_config_map(settings: Settings, component: Component = COMPONENT) -> Manifest:
    """The route's ConfigMap, without data: only a cutover writes that."""
    return {"kind": "ConfigMap", "metadata": metadata(route_name(component), settings.namespaces.backend)}


def credentials(passwords: Mapping[str, object], redis: object, user: str) -> dict[str, object]:
    """The secret half of a client's environment."""
    return {
        names.ENV_REDIS_PASSWORD: redis,
        names.ENV_KAFKA_USER: user,
        names.ENV_KAFKA_PASSWORD: passwords[user],
    }
