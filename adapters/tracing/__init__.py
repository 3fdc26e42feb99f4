"""Traces, as OpenTelemetry has them: made where OTEL_EXPORTER_OTLP_ENDPOINT names a collector, and nowhere else.

An event's id is its trace id, and the second half of it the id of the span that published it (docs/adr/0016). So the
trace of an event is found by the id that stands in every log and table, crosses backends, mirror and replays, and costs
no byte on the wire.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from contracts.names import ENV_TRACES_ENDPOINT, ENV_TRACES_RATIO

if TYPE_CHECKING:
    from adapters.tracing.spans import Tracing

__all__ = ["BadTracing", "tracing_from_env"]

DEFAULT_RATIO = 0.01


class BadTracing(ValueError):
    """A variable that cannot be used: its name, value, what follows and the fix."""


def tracing_from_env(service: str, env: Mapping[str, str] = os.environ) -> Tracing | None:
    """The traces of this process, by the name of its service; None where none are asked for. Raises BadTracing."""
    endpoint = env.get(ENV_TRACES_ENDPOINT, "").rstrip("/")
    if not endpoint:
        return None
    if not endpoint.startswith(("http://", "https://")):
        raise BadTracing(
            f"{ENV_TRACES_ENDPOINT} is {endpoint!r}: no trace could be sent. Give http://HOST:4318, or https"
        )
    text = env.get(ENV_TRACES_RATIO, "") or str(DEFAULT_RATIO)
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise BadTracing(f"{ENV_TRACES_RATIO} is {text!r}: how many traces to make is not known. Give a part, 0 to 1")
    return _made(service, endpoint, ratio)


@cache
def _made(service: str, endpoint: str, ratio: float) -> Tracing:
    """One for all parts of a process: it has a thread that sends."""
    # Imported here: where none are asked for, the SDK is not loaded.
    from adapters.tracing.spans import Tracing, exporter

    return Tracing(service, ratio, exporter(f"{endpoint}/v1/traces"))
