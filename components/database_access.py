"""What those get who move the database: addresses of both servers, rights in Kubernetes, network edges. Pure."""

from __future__ import annotations

from urllib.parse import quote

from components import database_tls, hosted_postgres, selfhosted_postgres
from components.bus_access import adapter_rules, cutover_rules
from components.containers import WORKLOAD_IMAGE, container
from components.hosted_postgres import MIGRATOR
from components.manifests import deployment, disruption_budget, metadata, role, role_binding, rule, service_account
from components.networking import allow, edge, pods_in, pods_of, to_api
from components.pods import Manifest, Pod, Probes, env, identity_env, tcp_probe
from components.settings import Settings
from contracts import names
from contracts.backups import NOTE_NAME
from contracts.stages import Component

COMPONENT = Component.DATABASE
CARRIER, POOLER = names.CARRIER_NAME, names.POOLER_NAME
CUTOVER = names.DATABASE_CUTOVER_NAME
"""App and ServiceAccount of the Transition Jobs: they know nothing of the event bus, and its own nothing of this."""
MOVE = names.DATABASE_MOVE_NAME


def hosted_host(settings: Settings) -> str:
    """Where the stand-in is found."""
    return f"{hosted_postgres.NAME}.{settings.namespaces.hosted}.svc.{settings.cluster_domain}"


def hosted_url(settings: Settings, migrator_password: str) -> str:
    """The hosted server, as the role that migrates."""
    hosted = settings.database.hosted
    if hosted is None:
        return hosted_server_url(settings, MIGRATOR, migrator_password)
    return hosted_server_url(settings, hosted.user, hosted.password.get_secret_value())


def hosted_server_url(settings: Settings, user: str, password: str) -> str:
    """The hosted server, as `user`."""
    hosted = settings.database.hosted
    tls = database_tls.of_hosted(hosted)
    if hosted is None:
        return server_url(user, password, hosted_host(settings), names.POSTGRES_PORT, names.DATABASE_NAME, tls)
    return server_url(user, password, hosted.host, hosted.port, hosted.name, tls)


def own_server_url(settings: Settings, user: str, password: str) -> str:
    """Our own server, as `user`."""
    host, tls = selfhosted_postgres.host(settings), database_tls.of_ours(settings)
    return server_url(user, password, host, names.POSTGRES_PORT, names.DATABASE_NAME, tls)


def server_url(user: str, password: str, host: str, port: int, database: str, parameters: str) -> str:
    """A libpq URL."""
    who = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"postgresql://{who}@{host}:{port}/{quote(database, safe='')}?{parameters}"


def servers(settings: Settings) -> list[Manifest]:
    """Egress to both servers, whichever of them are there."""
    hosted = settings.database.hosted
    there = (
        edge("to", [pods_in(settings.namespaces.hosted, hosted_postgres.NAME)], [names.POSTGRES_PORT])
        if hosted is None
        else edge("to", [], [hosted.port])
    )
    return [there, edge("to", [pods_of(names.SELFHOSTED_POSTGRES_NAME)], [names.POSTGRES_PORT])]


def backup_note(settings: Settings) -> Manifest:
    """The ConfigMap of the last backup, without data: only `crossover backup` writes that."""
    return {"kind": "ConfigMap", "metadata": metadata(NOTE_NAME, settings.namespaces.backend)}


def rights(settings: Settings) -> list[Manifest]:
    """Roles and bindings: the pooler's agent is an adapter of the database, the carrier reads its route and tells in a
    Lease how far it is."""
    namespace = settings.namespaces.backend
    rules = {
        CARRIER: adapter_rules(COMPONENT),
        CUTOVER: [*cutover_rules(COMPONENT), rule("", "configmaps", ["get"], [NOTE_NAME])],
        POOLER: adapter_rules(COMPONENT),
    }
    made: list[Manifest] = []
    for account, granted in rules.items():
        made += [
            service_account(account, namespace),
            role(account, namespace, granted),
            role_binding(account, namespace, account, [account]),
        ]
    return made


def edges(settings: Settings) -> list[Manifest]:
    """Carrier and cutover reach both servers and the Kubernetes API; nobody else but the pooler reaches a server."""
    backend, hosted = settings.namespaces.backend, settings.namespaces.hosted
    ours, theirs = names.SELFHOSTED_POSTGRES_NAME, hosted_postgres.NAME
    ports, clients = [names.POSTGRES_PORT], (POOLER, CARRIER, CUTOVER)
    own_clients = (*clients, *([names.BASE_BACKUP_NAME] if settings.base_backups else []))
    out = [*servers(settings), to_api()]
    made = [
        allow(CARRIER, backend, pods_of(CARRIER), egress=out),
        allow(CUTOVER, backend, pods_of(CUTOVER), egress=out),
        allow(ours, backend, pods_of(ours), ingress=[edge("from", [pods_of(app) for app in own_clients], ports)]),
    ]
    if settings.base_backups:
        app, server = names.BASE_BACKUP_NAME, [edge("to", [pods_of(ours)], ports)]
        made.append(allow(app, backend, pods_of(app), egress=server))
    if settings.database.hosted is None:
        peers = [pods_in(backend, app) for app in clients]
        made.append(allow(theirs, hosted, pods_of(theirs), ingress=[edge("from", peers, ports)]))
    return made


def carrier(settings: Settings, move_hash: object) -> list[Manifest]:
    """The Deployment of one that keeps the side that does not serve in step."""
    namespace = settings.namespaces.backend
    probe = tcp_probe(names.METRICS_PORT)
    made = container(
        settings,
        CARRIER,
        WORKLOAD_IMAGE,
        command=["python", "-m", "cutover.carrier"],
        env=[
            *identity_env(),
            *env(
                **{
                    names.ENV_NAMESPACE: namespace,
                    names.ENV_DATABASE_MASK: ",".join(settings.database.mask) or None,
                    names.ENV_DATABASE_SCHEMAS: ",".join(settings.database.schemas) or None,
                    names.ENV_DATABASE_ROLE: selfhosted_postgres.ROLE,
                }
            ),
        ],
        env_from=[{"secretRef": {"name": MOVE}}],
        ports={"metrics": names.METRICS_PORT},
        mounts=database_tls.mounts(settings),
        probes=Probes(startup=tcp_probe(names.METRICS_PORT, period=1, failures=90), readiness=probe, liveness=probe),
    )
    pod = Pod(
        app=CARRIER,
        container=made,
        service_account=CARRIER,
        api=True,
        volumes=database_tls.volumes(settings),
        hashes={"servers": move_hash},
    )
    # A slot is read by one at a time: two would only take turns failing.
    return [disruption_budget(CARRIER, namespace), deployment(pod, namespace, recreate=True)]
