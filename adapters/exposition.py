"""Prometheus' text format, read. The one module that imports `prometheus_client`'s parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


class UnreadableMetrics(ValueError):
    """A text that is not in Prometheus' format."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a series."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(text: str) -> list[Sample]:
    """All that `text` holds. Raises UnreadableMetrics."""
    try:
        return [
            Sample(one.name, one.labels, float(one.value))
            for family in text_string_to_metric_families(text)
            for one in family.samples
        ]
    except Exception as error:  # the parser raises whatever it stumbles over
        raise UnreadableMetrics(f"no metrics in Prometheus' text format: {type(error).__name__}: {error}") from error
