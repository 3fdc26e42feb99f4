"""A service's API against the document that it gives of itself: requests are made from the document, good and bad ones,
and each answer must be one that the document allows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.engine import Status, events, from_schema

DOCUMENTS = Path(__file__).parents[2] / "docs" / "api"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "positive_data_acceptance", "unsupported_method",
    "allow_header_conformance",
)  # fmt: skip
_ACCEPTED = ("2xx", "404", "409")
_PARQUET = "application/vnd.apache.parquet"


@schemathesis.serializer(_PARQUET, "application/gzip")
def _as_it_is(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """What is sent as a file is any bytes."""
    del context
    return value if isinstance(value, bytes) else str(value).encode()


@dataclass
class Tried:
    """What came of it: how many requests were made of each operation, and what was wrong."""

    requests: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def conformance(
    service: str,
    address: str,
    *,
    examples: int,
    refused: Sequence[str] = (),
    operations: Sequence[Mapping[str, Any]] = (),
) -> Tried:
    """Try each operation of `service`'s document at `address`: each value that its schema singles out, and `examples`
    drawn ones, always the same. `refused`: statuses with which it may refuse what the schema allows, for a schema
    cannot say all. `operations`: settings of single ones, as schemathesis has them."""
    checks: dict[str, Any] = {name: {"enabled": True} for name in CHECKS}
    checks["positive_data_acceptance"]["expected-statuses"] = [*_ACCEPTED, *refused]
    config = schemathesis.Config.from_dict({
        "base-url": address,
        "request-timeout": 20.0,
        "continue-on-failure": True,
        "checks": {"enabled": False, **checks},
        "generation": {"deterministic": True, "max-examples": examples},
        "phases": {"stateful": {"enabled": False}},
        "operations": list(operations),
    })  # fmt: skip
    schema = schemathesis.openapi.from_path(DOCUMENTS / f"{service}.json", config=config)
    tried = Tried()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            tried.requests[event.recorder.label] += len(event.recorder.interactions)
            tried.wrong += _wrong(event)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            tried.wrong.append(str(event.value if isinstance(event, events.NonFatalError) else event.exception))
    return tried


def operations_of(service: str) -> set[str]:
    """The operations of its document, as they are counted."""
    paths = json.loads((DOCUMENTS / f"{service}.json").read_text())["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def _wrong(event: events.ScenarioFinished) -> list[str]:
    return [
        f"{event.recorder.label}: {check.name}: {info.failure.title}: {info.failure.message}\n  {info.code_sample}"
        for checks in event.recorder.checks.values()
        for check in checks
        if check.status is Status.FAILURE and (info := check.failure_info) is not None
    ]
