"""PgBouncer, the one address of the database, and beside it the agent that points it to the side that serves. Pure.

Both configurations lie in the pod, and the agent chooses by the route: so nothing has to be handed out in a switch, and
a pod that starts anew comes up on the right side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from components.containers import WORKLOAD_IMAGE, container
from components.database_access import COMPONENT, POOLER, servers
from components.manifests import deployment, disruption_budget, service
from components.networking import allow, edge, pods_labelled, pods_of, to_api
from components.pods import Container, Manifest, Pod, Probes, env, identity_env, tcp_probe
from components.settings import Settings
from contracts import names
from contracts.registry import LABEL_ADAPTER

FILES = "/etc/pgbouncer"
RUN = "/run/pgbouncer"
"""Shared by the pod's containers: the configuration in force, and the socket of the admin console."""
INI = f"{RUN}/pgbouncer.ini"


@dataclass(frozen=True, slots=True)
class Server:
    """One side, and as whom the pooler logs in there."""

    host: str
    port: int
    database: str
    user: str
    password: str
    sslmode: str


def ini(server: Server) -> str:
    """pgbouncer.ini for one side."""
    target = (
        f"host={server.host} port={server.port} dbname={_quoted(server.database)} user={_quoted(server.user)} "
        f"password={_quoted(server.password)}"
    )
    return f"""[databases]
{names.DATABASE_NAME} = {target}

[pgbouncer]
listen_addr = 0.0.0.0
listen_port = {names.POOLER_PORT}
unix_socket_dir = {RUN}
; the console is for who runs as the same user in this pod: no password opens it over the network
admin_users = pgbouncer
auth_type = scram-sha-256
auth_file = {FILES}/userlist.txt
pool_mode = transaction
max_client_conn = 500
default_pool_size = 20
max_prepared_statements = 200
server_tls_sslmode = {server.sslmode}
ignore_startup_parameters = extra_float_digits,options
query_wait_timeout = 300
server_login_retry = 1
; a name that does not resolve yet is asked for again soon
dns_nxdomain_ttl = 2
"""


def files(hosted: Server, selfhosted: Server, client: str, client_password: str) -> dict[str, str]:
    """A configuration a side, and userlist.txt: `client` is who connects to the pooler."""
    quoted = client_password.replace('"', '""')
    return {
        "hosted.ini": ini(hosted),
        "selfhosted.ini": ini(selfhosted),
        "userlist.txt": f'"{client}" "{quoted}"\n',
    }


def _quoted(value: str) -> str:
    """A value in a connection string of pgbouncer.ini."""
    return "'" + value.replace("'", "''") + "'"


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
        mounts={FILES: ("config", True), RUN: ("run", False)},
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
        volumes={"config": {"secret": {"secretName": POOLER}}, "run": {"emptyDir": {}}},
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
                    names.ENV_POOLER_FILES: FILES,
                    names.ENV_POOLER_RUN: RUN,
                }
            ),
        ],
        ports={} if once else {"metrics": names.METRICS_PORT},
        mounts={FILES: ("config", True), RUN: ("run", False)},
        probes=None if once else probes,
    )
    return replace(made, name="route") if once else made
