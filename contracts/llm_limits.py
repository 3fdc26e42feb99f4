"""How long llm-orchestrator waits, how much it holds, and what it may try again: of one replica.

Stack config has them as `crossover:llm_service.limits`, the orchestrator's pods as environment variables. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from contracts import names
from contracts.env import Env, env_of

_BASE_MIB = 100.0
"""What the process takes before its first call, the Kubernetes client included."""
_STREAM_MIB = 0.1
"""What a stream takes from an upstream with TLS: 82 to 97 KiB were measured."""
_BODY_COPIES = 3.5
"""A body is kept as it came and as it is sent, and for a moment it is parsed: 3.4 times its size were measured."""


class Conflict(NamedTuple):
    """Two limits that do not go together: the field to change, why, and a value that fits."""

    field: str
    reason: str
    value: float


class Limits(BaseModel):
    """See each field. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_seconds: Annotated[float, Env(names.ENV_LLM_CONNECT_TIMEOUT, "seconds, above 0 and at most 60")] = Field(
        default=5.0, gt=0, le=60
    )
    """For a connection to a side, its name's look-up and its handshake included."""
    connecting: Annotated[int, Env(names.ENV_LLM_CONNECTING, "1 to 1000")] = Field(default=64, ge=1, le=1000)
    """Connections to a side that may be in the making at a time. Calls beyond that wait for their turn."""
    first_token_seconds: Annotated[
        float, Env(names.ENV_LLM_FIRST_TOKEN_TIMEOUT, "seconds, above 0 and at most 600")
    ] = Field(default=30.0, gt=0, le=600)
    """From asking for a stream to its first event, the wait for a connection included. Then the other side is asked."""
    whole_seconds: Annotated[float, Env(names.ENV_LLM_WHOLE_TIMEOUT, "seconds, above 0 and at most 7200")] = Field(
        default=600.0, gt=0, le=7200
    )
    """The longest that a call may take in all."""
    max_in_flight: Annotated[int, Env(names.ENV_LLM_MAX_IN_FLIGHT, "1 to 10000")] = Field(default=1000, ge=1, le=10_000)
    """Calls in hand at a time. Each holds two connections."""
    queue_length: Annotated[int, Env(names.ENV_LLM_QUEUE_LENGTH, "0 to 10000")] = Field(default=200, ge=0, le=10_000)
    """Calls that may wait for a place. Who comes beyond that gets a 503 with Retry-After."""
    queue_seconds: Annotated[float, Env(names.ENV_LLM_QUEUE_SECONDS, "seconds, above 0 and at most 60")] = Field(
        default=5.0, gt=0, le=60
    )
    """How long a call waits for a place."""
    bodies_mib: Annotated[int, Env(names.ENV_LLM_BODIES, "MiB, 4 to 4096")] = Field(default=32, ge=4, le=4096)
    """What the bodies of calls that nobody has begun to answer may take, in MiB as they came."""
    sample_tokens_a_minute: Annotated[float, Env(names.ENV_LLM_SAMPLE_TOKENS, "0 or more")] = Field(
        default=20_000.0, ge=0, allow_inf_nan=False
    )
    """What samples may cost, prompt and answer. What would go beyond is not sampled."""
    sample_concurrency: Annotated[int, Env(names.ENV_LLM_SAMPLE_CONCURRENCY, "1 to 100")] = Field(
        default=2, ge=1, le=100
    )
    """Samples under way at a time."""
    retries_at_once: Annotated[float, Env(names.ENV_LLM_RETRIES_AT_ONCE, "0 to 10000")] = Field(
        default=100.0, ge=0, le=10_000
    )
    """How many calls may be sent to another side, or once more, before the budget has to fill again."""
    retries_a_call: Annotated[float, Env(names.ENV_LLM_RETRIES_A_CALL, "0 to 2")] = Field(default=0.2, ge=0, le=2)
    """What each call adds to that budget."""
    retries_a_second: Annotated[float, Env(names.ENV_LLM_RETRIES_A_SECOND, "0 to 1000")] = Field(
        default=2.0, ge=0, le=1000
    )
    """What each second adds to it."""
    breaker_failures: Annotated[int, Env(names.ENV_LLM_BREAKER_FAILURES, "1 to 1000")] = Field(default=5, ge=1, le=1000)
    """A model of a side is left alone after so many failures within `breaker_window_seconds` ..."""
    breaker_rate: Annotated[float, Env(names.ENV_LLM_BREAKER_RATE, "above 0 and at most 1")] = Field(
        default=0.5, gt=0, le=1
    )
    """... where they are this share of the calls, or more."""
    breaker_window_seconds: Annotated[float, Env(names.ENV_LLM_BREAKER_WINDOW, "seconds, above 0 and at most 600")] = (
        Field(default=10.0, gt=0, le=600)
    )
    breaker_rest_seconds: Annotated[float, Env(names.ENV_LLM_BREAKER_REST, "seconds, above 0 and at most 600")] = Field(
        default=1.0, gt=0, le=600
    )
    """How long it is left alone; then one call finds out, and each failure doubles the time ..."""
    breaker_longest_seconds: Annotated[
        float, Env(names.ENV_LLM_BREAKER_LONGEST, "seconds, above 0 and at most 600")
    ] = Field(default=10.0, gt=0, le=600)
    """... up to this."""

    def env(self) -> dict[str, str]:
        """As variable -> text. What is told here is what an orchestrator reads."""
        return {variable(field): format(getattr(self, field), ".15g") for field in Limits.model_fields}

    @property
    def memory_mib(self) -> float:
        """What one replica may come to hold, in MiB."""
        calls = self.max_in_flight + self.queue_length
        return _BASE_MIB + calls * _STREAM_MIB + self.bodies_mib * _BODY_COPIES

    def in_flight_within(self, mib: float) -> int:
        """How many calls in flight fit into `mib`, all else as it is; 0 where none do."""
        left = mib - self.memory_mib + self.max_in_flight * _STREAM_MIB
        return max(0, int(left / _STREAM_MIB))


def variable(field: str) -> str:
    """The environment variable of a field of Limits."""
    return env_of(field, Limits.model_fields[field]).name


def conflict(limits: Limits, silence: float, name: Mapping[str, str] | None = None) -> Conflict | None:
    """What of `limits` does not go together, or with `silence`: the longest silence in an answer, in seconds. `name`:
    what the reader calls a field, where not by its own name."""

    def called(field: str) -> str:
        return (name or {}).get(field, field)

    def told(field: str) -> str:
        return f"{called(field)} is {getattr(limits, field):g}"

    if limits.first_token_seconds <= limits.connect_seconds:
        return Conflict(
            "first_token_seconds",
            f"{told('first_token_seconds')} and {told('connect_seconds')}: a side that cannot be "
            "reached would be told as a slow one",
            2 * limits.connect_seconds,
        )
    if limits.whole_seconds <= limits.first_token_seconds:
        return Conflict(
            "whole_seconds",
            f"{told('whole_seconds')} and {told('first_token_seconds')}: a call would be over before the other side "
            "could be asked instead",
            2 * limits.first_token_seconds,
        )
    if limits.whole_seconds <= silence:
        return Conflict(
            "whole_seconds",
            f"{told('whole_seconds')} and {called('timeout_seconds')} is {silence:g}: a silence would never be seen, "
            "for the call is over before",
            2 * silence,
        )
    if limits.breaker_longest_seconds < limits.breaker_rest_seconds:
        return Conflict(
            "breaker_longest_seconds",
            f"{told('breaker_longest_seconds')} and {told('breaker_rest_seconds')}: a side that fails "
            "again would be left alone for a shorter time than one that fails once",
            limits.breaker_rest_seconds,
        )
    return None
