"""Makes the event log of a name from the environment. Each backend's client is imported only where it is used."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.event_bus.base import EventLog, LogSettings
from adapters.event_bus.errors import PermanentError
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_server import shared_server
from contracts import names


class BackendNotConfigured(PermanentError):
    """The environment does not say how to reach a backend: which variable, what follows, the fix."""


def open_log(name: str, settings: LogSettings, env: Mapping[str, str]) -> EventLog:
    """The backend `redis`, `kafka` or `memory`; it connects at first use.

    Raises BackendNotConfigured.
    """
    if name == "redis":
        return _redis(settings, env)
    if name == "kafka":
        return _kafka(settings, env)
    if name == "memory":
        return MemoryLog(name, settings, shared_server(name))
    raise BackendNotConfigured(
        f"{name!r} is not an event bus backend: nothing was opened. Use redis, kafka or memory "
        f"({names.ENV_EVENT_BUS_TYPE}, or the route)"
    )


def _redis(settings: LogSettings, env: Mapping[str, str]) -> EventLog:
    from adapters.event_bus.redis_client import RedisAddress
    from adapters.event_bus.redis_streams import RedisLog

    url = _required(env, names.ENV_REDIS_URL, "redis", f"redis://{names.REDIS_NAME}:{names.REDIS_PORT}/0")
    if "://" not in url:
        raise BackendNotConfigured(
            f"{names.ENV_REDIS_URL} is {url!r}, not a URL: redis cannot be reached. Write redis://host:port/0, or "
            "rediss:// for TLS"
        )
    if "@" in url:
        raise BackendNotConfigured(
            f"{names.ENV_REDIS_URL} holds credentials, which would show in logs: redis was not opened. Put the "
            f"password into {names.ENV_REDIS_PASSWORD}"
        )
    return RedisLog("redis", settings, RedisAddress(url, env.get(names.ENV_REDIS_PASSWORD) or None))


def _kafka(settings: LogSettings, env: Mapping[str, str]) -> EventLog:
    from adapters.event_bus.kafka_client import KafkaAddress
    from adapters.event_bus.kafka_log import KafkaLog

    bootstrap = _required(env, names.ENV_KAFKA_BOOTSTRAP, "kafka", f"{names.KAFKA_NAME}:{names.KAFKA_PORT}")
    user, password = env.get(names.ENV_KAFKA_USER, ""), env.get(names.ENV_KAFKA_PASSWORD, "")
    if bool(user) != bool(password):
        given, missing = names.ENV_KAFKA_USER, names.ENV_KAFKA_PASSWORD
        if password:
            given, missing = missing, given
        raise BackendNotConfigured(
            f"{given} is set but {missing} is not: kafka would refuse the login. Set both, or neither for a broker "
            "without logins (which cannot be sealed)"
        )
    return KafkaLog("kafka", settings, KafkaAddress(bootstrap, user, password))


def _required(env: Mapping[str, str], name: str, backend: str, example: str) -> str:
    value = env.get(name, "")
    if not value:
        raise BackendNotConfigured(f"{name} is not set: {backend} cannot be reached. Set it, for example to {example}")
    return value
