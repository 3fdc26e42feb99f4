"""The one module that imports `redis`: connections that speak bytes and raise our own errors.

A `RedisConnection` is one socket, owned by one thread at a time. It connects at first use and
again after a failure; a command is never repeated behind the caller's back, because only the
caller knows whether that is safe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from adapters.event_bus.errors import AccessDenied, BackendUnavailable, EventBusError, PermanentError

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
"""How long an answer may take before the connection is given up, in seconds; blocking reads ask for less."""
_RETRY_PAUSE_SECONDS = 0.1
_TRANSIENT = ("OOM", "MISCONF", "LOADING", "BUSY", "READONLY", "MASTERDOWN", "TRYAGAIN", "NOREPLICAS", "NOGROUP")
"""Error codes after which the same command may succeed later (https://redis.io/docs, error prefixes)."""

FUNCTIONS = Path(__file__).with_name("functions.lua")

Argument = bytes | str | int


class FunctionsMissing(BackendUnavailable):
    """The function library is not loaded."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is. `url` without password: redis://host:port/db or rediss://..."""

    url: str
    password: str | None = field(default=None, repr=False)


class RedisConnection:
    """One connection. Not thread-safe."""

    def __init__(self, address: RedisAddress, client_name: str) -> None:
        self._address = address
        self._name = "".join(
            character if character.isalnum() or character in "-_." else "-" for character in client_name
        )
        self._connection: Any = None
        self._waits_for_fsync: bool | None = None
        self._watched: tuple[str, str] | None = None

    def call(self, *command: Argument) -> Any:
        """The answer to one command: bytes, int, None, or lists of them.

        Raises BackendUnavailable, AccessDenied, PermanentError.
        """
        answer = self.calls([command])[0]
        if isinstance(answer, EventBusError):
            raise answer
        return answer

    def calls(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """The answers to `commands`, sent in one go; an error reply stands in its place as an error.

        Raises BackendUnavailable where the connection failed: any of them may have been done.
        """
        try:
            connection = self._connected()
            connection.send_packed_command(connection.pack_commands(commands))
            answers: list[Any] = []
            for _ in commands:
                try:
                    answers.append(connection.read_response())
                except redis.ResponseError as error:
                    answers.append(self._translate(error))
            return answers
        except redis.RedisError as error:
            self.close()
            raise self._translate(error) from error

    def fcall(self, function: str, keys: Sequence[str], *arguments: Argument) -> Any:
        """The answer of a function of functions.lua; the library is loaded where it is missing."""
        command = ("FCALL", function, len(keys), *keys, *arguments)
        try:
            return self.call(*command)
        except FunctionsMissing:
            self.load_functions()
            return self.call(*command)

    def load_functions(self) -> None:
        """Load the function library, in place of what is there."""
        self.call("FUNCTION", "LOAD", "REPLACE", FUNCTIONS.read_bytes())

    def durable_fcall(self, function: str, keys: Sequence[str], *arguments: Argument) -> Any:
        """As fcall; its effects are fsynced when this returns, where the server can say so.

        With appendfsync always the answer itself says so. Otherwise WAITAOF does (Redis 7.2).
        """
        return self.durable_fcalls((function, keys, arguments))[0]

    def durable_fcalls(self, *asked: tuple[str, Sequence[str], Sequence[Argument]]) -> list[Any]:
        """The answers to several functions with their keys and arguments, done in order and in one round trip."""
        commands: list[Sequence[Argument]] = [("FCALL", name, len(keys), *keys, *rest) for name, keys, rest in asked]
        try:
            return self._fsynced(commands)
        except FunctionsMissing:
            self.load_functions()
            return self._fsynced(commands)

    def _fsynced(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """The answers to `commands`, whose effects are on disk."""
        if self._waits_for_fsync is None:
            self._waits_for_fsync = self._must_wait_for_fsync()
        if not self._waits_for_fsync:
            return self._done(commands)
        *answers, synced = self._done([*commands, ("WAITAOF", 1, 0, int(ANSWER_SECONDS * 500))])
        if synced[0] < 1:
            raise BackendUnavailable(f"{self._where()} did not fsync in time: it may or may not be durable")
        return answers

    def _done(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """The answers to `commands`. Raises the first error among them."""
        answers = self.calls(commands)
        for answer in answers:
            if isinstance(answer, EventBusError):
                raise answer
        return answers

    def watch(self, key: str, value: str) -> None:
        """From here on `guarded` does what it is given while `key` has `value`, and nothing once it was written."""
        _, _, found = self._done([("UNWATCH",), ("WATCH", key), ("GET", key)])
        self._keep_watching(key, value, found)

    def guarded(self, *commands: Sequence[Argument]) -> list[Any] | None:
        """The answers to `commands`, done in one step and in one round trip; None where they were not done, for
        nothing is watched on this socket, or the key was written since. Their effects are fsynced when this returns,
        as those of durable_fcalls."""
        watched, self._watched = self._watched, None
        if watched is None:
            return None
        key, value = watched
        answers = self._fsynced([("MULTI",), *commands, ("EXEC",), ("WATCH", key), ("GET", key)])
        done: list[Any] | None = answers[len(commands) + 1]
        if done is None:
            return None
        for answer in done:
            if isinstance(answer, redis.ResponseError):
                raise self._translate(answer)
        self._keep_watching(key, value, answers[-1])
        return done

    def _keep_watching(self, key: str, value: str, found: Any) -> None:
        self._watched = (key, value) if found == value.encode() else None

    def close(self) -> None:
        """Give the socket up; the next command makes a new one."""
        connection, self._connection = self._connection, None
        self._waits_for_fsync = self._watched = None
        if connection is not None:
            connection.disconnect()

    def _connected(self) -> Any:
        if self._connection is None:
            pool = redis.ConnectionPool.from_url(
                self._address.url,
                password=self._address.password,
                client_name=self._name,
                protocol=2,
                driver_info=None,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
            connection: Any = pool.make_connection()
            connection.connect()
            self._connection = connection
        return self._connection

    def _must_wait_for_fsync(self) -> bool:
        """Whether an answer alone does not mean fsynced, and the server can be asked to wait."""
        policy = fsync_policy(self)
        if policy in ("always", "off"):
            return False
        known = self.call("COMMAND", "INFO", "WAITAOF")
        return bool(known and known[0])

    def _where(self) -> str:
        return f"Redis at {self._address.url}"

    def _translate(self, error: redis.RedisError) -> EventBusError:
        """`error` as one of ours. The password stands in none of these texts."""
        text = f"{self._where()}: {error}"
        if isinstance(
            error, redis.AuthenticationError | redis.exceptions.AuthorizationError | redis.exceptions.NoPermissionError
        ):
            return AccessDenied(f"{text}. Check REDIS_PASSWORD and the user's ACL")
        if isinstance(error, redis.ConnectionError | redis.TimeoutError | redis.BusyLoadingError):
            return BackendUnavailable(text)
        if "Function not found" in str(error):
            return FunctionsMissing(f"{text}: the function library crossover is not loaded")
        if str(error).startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
            return AccessDenied(f"{text}. Check REDIS_PASSWORD and the user's ACL")
        if str(error).startswith(_TRANSIENT) or isinstance(error, redis.exceptions.OutOfMemoryError):
            return BackendUnavailable(text)
        return PermanentError(text)


def fsync_policy(connection: RedisConnection) -> str:
    """`always`, `everysec`, `no`; `off` without an append-only file; `unknown` where that may not be asked."""
    try:
        answer = connection.call("CONFIG", "GET", "append*")
    except (AccessDenied, PermanentError):
        return "unknown"
    settings = {bytes(answer[i]).decode(): bytes(answer[i + 1]).decode() for i in range(0, len(answer), 2)}
    if settings.get("appendonly") != "yes":
        return "off"
    return settings.get("appendfsync", "unknown")


def retrying[T](act: Callable[[], T], deadline: float, give_up: Callable[[], bool] = lambda: False) -> T:
    """Do `act` again while it raises BackendUnavailable, until `deadline` (of time.monotonic) or `give_up()`.
    Only for what may be done twice."""
    while True:
        try:
            return act()
        except BackendUnavailable:
            if give_up() or time.monotonic() + _RETRY_PAUSE_SECONDS >= deadline:
                raise
            time.sleep(_RETRY_PAUSE_SECONDS)  # a server that is away announces nothing
