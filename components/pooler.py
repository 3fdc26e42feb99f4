"""PgBouncer, the one address of the database, and beside it the agent that points it to the side that serves. Pure.

The addresses of both sides lie in the pod, and the agent chooses by the route: so nothing has to be handed out in a
switch, and a pod that starts anew comes up on the right side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from components import database_tls
from components.containers import WORKLOAD_IMAGE, container
from components.database_access import COMPONENT, POOLER, servers
from components.hosted_postgres import secret_files
from components.manifests import deployment, disruption_budget, service
from components.networking import allow, edge, pods_labelled, pods_of, to_api
from components.pods import Container, Manifest, Pod, Probes, env, identity_env, tcp_probe
from components.settings import Settings
from contracts import names
from contracts.registry import LABEL_ADAPTER
from contracts.stages import BACKENDS

LOGINS = "userlist.txt"
FILES = "/etc/pgbouncer"
SIDES = "/etc/pooler/sides"
FOLDER = "/run/pooler"
"""Shared by the pod's containers: the configuration in force, and the socket of the admin console. Who runs as the same
user in this pod may use that without a password."""
INI = f"{FOLDER}/pgbouncer.ini"


def files(urls: Mapping[str, str], client: str, client_password: str) -> dict[str, str]:
    """By side, the URL as which the pooler logs in there; and userlist.txt: `client` is who connects to the pooler."""
    quoted = [value.replace('"', '""') for value in (client, client_password)]
    return {**urls, LOGINS: '"{}" "{}"\n'.format(*quoted)}


def manifests(settings: Settings, config_hash: object) -> list[Manifest]:
    """One pod: a switch must pause all of it at once."""
    namespace = settings.namespaces.backend
    probe = tcp_probe(names.POOLER_PORT)
    made = container(
        settings,
        POOLER,
        "pgbouncer",
        command=["pgbouncer", INI],
        ports={"postgres": names.POOLER_PORT},
        mounts={FILES: ("logins", True), FOLDER: ("run", False), **database_tls.mounts(settings)},
        probes=Probes(startup=tcp_probe(names.POOLER_PORT, period=1, failures=60), readiness=probe, liveness=probe),
    )
    pod = Pod(
        app=POOLER,
        container=made,
        service_account=POOLER,
        first=[_agent(settings, once=True)],
        beside=[_agent(settings)],
        api=True,
        labels={LABEL_ADAPTER: COMPONENT.slug},
        volumes={
            "logins": secret_files(POOLER, LOGINS),
            "sides": secret_files(POOLER, *sorted(BACKENDS[COMPONENT].values())),
            "run": {"emptyDir": {}},
            **database_tls.volumes(settings),
        },
        hashes={"config": config_hash},
    )
    clients = [pods_of(names.TRADING_ENGINE_NAME), pods_labelled(names.LABEL_DATABASE_CLIENT, "true")]
    return [
        service(POOLER, namespace, {"postgres": names.POOLER_PORT}),
        disruption_budget(POOLER, namespace),
        allow(
            POOLER,
            namespace,
            pods_of(POOLER),
            ingress=[edge("from", clients, [names.POOLER_PORT])],
            egress=[*servers(settings), to_api()],
        ),
        allow(
            "database-clients",
            namespace,
            pods_labelled(names.LABEL_DATABASE_CLIENT, "true"),
            egress=[edge("to", [pods_of(POOLER)], [names.POOLER_PORT])],
        ),
        deployment(pod, namespace, recreate=True),
    ]


def _agent(settings: Settings, *, once: bool = False) -> Container:
    """The agent; `once`, before PgBouncer starts, it only writes the configuration of the side that serves."""
    probe = tcp_probe(names.METRICS_PORT)
    probes = Probes(startup=tcp_probe(names.METRICS_PORT, period=1, failures=90), readiness=probe, liveness=probe)
    made = container(
        settings,
        names.POOLER_AGENT_NAME,
        WORKLOAD_IMAGE,
        command=["python", "-m", "cutover.pooler", *(["--once"] if once else [])],
        env=[
            *identity_env(),
            *env(
                **{
                    names.ENV_NAMESPACE: settings.namespaces.backend,
                    names.ENV_POOLER_FOLDER: FOLDER,
                    names.ENV_POOLER_SIDES: SIDES,
                    names.ENV_POOLER_LOGINS: f"{FILES}/{LOGINS}",
                }
            ),
        ],
        ports={} if once else {"metrics": names.METRICS_PORT},
        mounts={SIDES: ("sides", True), FOLDER: ("run", False), **database_tls.mounts(settings)},
        probes=None if once else probes,
    )
    return replace(made, name="route") if once else made
