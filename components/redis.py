"""The MVP event bus: Redis Streams on one pod with an append-only file. Pure."""

from __future__ import annotations

from components.containers import container
from components.manifests import disruption_budget, service, service_account, stateful_set
from components.pods import Manifest, Pod, Probes, exec_probe, secret_env
from components.settings import Settings
from components.sizes import resources
from contracts import names

SECRET = "event-bus-redis"  # noqa: S105 - the name of a Secret, not one
CONFIG_KEY, PASSWORD_KEY = "redis.conf", "password"
_MEMORY_SHARE = 0.7
"""Of the pod's memory limit: the rest is for a rewrite of the append-only file, which copies pages."""


def configuration(settings: Settings, password: str) -> str:
    """redis.conf. A full Redis refuses writes (noeviction): an event is never dropped to make room."""
    memory = int(resources(settings.size, names.REDIS_NAME).limit * _MEMORY_SHARE)
    lines = {
        "bind": "* -::*",
        "port": names.REDIS_PORT,
        "requirepass": password,
        "dir": "/data",
        "appendonly": "yes",
        "appendfsync": settings.event_bus.redis.appendfsync,
        "no-appendfsync-on-rewrite": "no",
        "save": '""',
        "maxmemory": f"{memory}mb",
        "maxmemory-policy": "noeviction",
        "tcp-keepalive": 30,
    }
    return "".join(f"{key} {value}\n" for key, value in lines.items())


def manifests(settings: Settings, config_hash: object) -> list[Manifest]:
    """What runs while Redis is deployed; its Secret exists at every stage."""
    namespace = settings.namespaces.backend
    ping = exec_probe(["redis-cli", "-e", "ping"])
    made = container(
        settings,
        names.REDIS_NAME,
        "redis",
        command=["redis-server", "/etc/redis/redis.conf"],
        env=[secret_env("REDISCLI_AUTH", SECRET, PASSWORD_KEY)],
        ports={"redis": names.REDIS_PORT},
        mounts={"/etc/redis": ("config", True), "/data": ("data", False)},
        # A long append-only file takes a while to load: 10 minutes, until then `ping` is an error.
        probes=Probes(
            startup=exec_probe(["redis-cli", "-e", "ping"], period=2, failures=300), readiness=ping, liveness=ping
        ),
    )
    pod = Pod(
        app=names.REDIS_NAME,
        container=made,
        service_account=names.REDIS_NAME,
        volumes={"config": {"secret": {"secretName": SECRET, "items": [{"key": CONFIG_KEY, "path": CONFIG_KEY}]}}},
        hashes={"config": config_hash},
        grace_seconds=60,
    )
    return [
        service_account(names.REDIS_NAME, namespace),
        service(names.REDIS_NAME, namespace, {"redis": names.REDIS_PORT}),
        disruption_budget(names.REDIS_NAME, namespace),
        stateful_set(
            pod,
            namespace,
            replicas=1,
            storage=settings.event_bus.redis.storage,
            storage_class=settings.storage_class,
        ),
    ]
