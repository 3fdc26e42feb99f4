"""What those get who move the database: addresses of both servers, rights in Kubernetes, network edges. Pure."""

from __future__ import annotations

from urllib.parse import quote

from components import hosted_postgres
from components.bus_access import CUTOVER, route_rules
from components.containers import WORKLOAD_IMAGE, container
from components.hosted_postgres import MIGRATOR
from components.manifests import deployment, disruption_budget, role, role_binding, rule, service_account
from components.networking import allow, edge, pods_in, pods_of, to_api
from components.pods import Manifest, Pod, Probes, env, identity_env, tcp_probe
from components.settings import Settings
from contracts import names
from contracts.stages import Component

COMPONENT = Component.DATABASE
CARRIER, POOLER = names.CARRIER_NAME, names.POOLER_NAME
MOVE = names.DATABASE_MOVE_NAME


def hosted_host(settings: Settings) -> str:
    """Where the stand-in is found."""
    return f"{hosted_postgres.NAME}.{settings.namespaces.hosted}.svc.{settings.cluster_domain}"


def hosted_url(settings: Settings, migrator_password: str) -> str:
    """The hosted server, as the role that migrates."""
    hosted = settings.database.hosted
    if hosted is None:
        at = hosted_host(settings), names.POSTGRES_PORT, names.DATABASE_NAME, "disable"
        return server_url(MIGRATOR, migrator_password, *at)
    given = hosted.password.get_secret_value()
    return server_url(hosted.user, given, hosted.host, hosted.port, hosted.name, hosted.sslmode)


def server_url(user: str, password: str, host: str, port: int, database: str, sslmode: str) -> str:
    """A libpq URL."""
    who = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"postgresql://{who}@{host}:{port}/{quote(database, safe='')}?sslmode={sslmode}"


def servers(settings: Settings) -> list[Manifest]:
    """Egress to both servers, whichever of them are there."""
    hosted = settings.database.hosted
    there = (
        edge("to", [pods_in(settings.namespaces.hosted, hosted_postgres.NAME)], [names.POSTGRES_PORT])
        if hosted is None
        else edge("to", [], [hosted.port])
    )
    return [there, edge("to", [pods_of(names.SELFHOSTED_POSTGRES_NAME)], [names.POSTGRES_PORT])]


def rights(settings: Settings) -> list[Manifest]:
    """Roles and bindings: the pooler's agent is an adapter of the database, the carrier reads its route."""
    namespace, read = settings.namespaces.backend, ["get", "list", "watch"]
    leases = rule("coordination.k8s.io", "leases", ["create", "patch", "delete"])
    return [
        *(service_account(account, namespace) for account in (CARRIER, POOLER)),
        role(POOLER, namespace, [*route_rules(COMPONENT, read), leases]),
        role_binding(POOLER, namespace, POOLER, [POOLER]),
        role(CARRIER, namespace, route_rules(COMPONENT, read)),
        role_binding(CARRIER, namespace, CARRIER, [CARRIER]),
    ]


def edges(settings: Settings) -> list[Manifest]:
    """Carrier and cutover reach both servers, and the carrier the Kubernetes API."""
    namespace = settings.namespaces.backend
    return [
        allow(CARRIER, namespace, pods_of(CARRIER), egress=[*servers(settings), to_api()]),
        allow("crossover-cutover-database", namespace, pods_of(CUTOVER), egress=servers(settings)),
    ]


def carrier(settings: Settings, move_hash: object) -> list[Manifest]:
    """The Deployment of one that keeps the side that does not serve in step."""
    namespace = settings.namespaces.backend
    probe = tcp_probe(names.METRICS_PORT)
    made = container(
        settings,
        CARRIER,
        WORKLOAD_IMAGE,
        command=["python", "-m", "cutover.carrier"],
        env=[*identity_env(), *env(**{names.ENV_NAMESPACE: namespace})],
        env_from=[{"secretRef": {"name": MOVE}}],
        ports={"metrics": names.METRICS_PORT},
        probes=Probes(startup=tcp_probe(names.METRICS_PORT, period=1, failures=90), readiness=probe, liveness=probe),
    )
    pod = Pod(app=CARRIER, container=made, service_account=CARRIER, api=True, hashes={"servers": move_hash})
    # A slot is read by one at a time: two would only take turns failing.
    return [disruption_budget(CARRIER, namespace), deployment(pod, namespace, recreate=True)]
