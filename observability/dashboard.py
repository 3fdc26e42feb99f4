"""The dashboard for Grafana: `python -m observability.dashboard` writes dashboard.json beside this file.

Kept as code so that a metric that is renamed breaks a test, not a picture on a wall.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("dashboard.json")
_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 24


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: its series by legend, and their unit as Grafana names it."""

    title: str
    unit: str
    series: tuple[tuple[str, str], ...]
    about: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one headline."""

    title: str
    panels: tuple[Panel, ...]


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))"


def _quantile(metric: str, by: str, quantile: float = 0.99) -> str:
    return f"histogram_quantile({quantile}, sum by (le, {by}) (rate({metric}_bucket[$__rate_interval])))"


ROWS = (
    Row(
        "Event bus",
        (
            Panel(
                "Published",
                "ops",
                ((_rate("crossover_bus_published_total", "backend"), "{{backend}}"),),
                "Who serves: a switch hands all of it from one backend to the other.",
            ),
            Panel(
                "From publish to durable, p99",
                "s",
                ((_quantile("crossover_bus_publish_seconds", "topic"), "{{topic}}"),),
            ),
            Panel("Held by a fence", "short", (("max(crossover_bus_held_events)", "events"),)),
            Panel(
                "Not acknowledged yet",
                "short",
                (("max by (topic, group) (crossover_bus_lag_events)", "{{topic}} {{group}}"),),
            ),
            Panel(
                "Epochs that adapters follow",
                "none",
                (("max(crossover_bus_epoch)", "newest"), ("min(crossover_bus_epoch > 0)", "oldest")),
            ),
            Panel(
                "Copied by the mirror",
                "ops",
                ((_rate("crossover_bus_mirrored_total", "topic, source"), "{{topic}} of {{source}}"),),
            ),
        ),
    ),
    Row(
        "Database",
        (
            Panel(
                "Behind",
                "s",
                (("max by (source) (crossover_database_behind_seconds)", "the side that follows {{source}}"),),
            ),
            Panel(
                "WAL until the slot is lost",
                "bytes",
                (("min by (source) (crossover_database_slot_safe_bytes)", "{{source}}"),),
            ),
            Panel(
                "Changes carried", "ops", ((_rate("crossover_database_carried_total", "source"), "from {{source}}"),)
            ),
            Panel(
                "Pauses of the pooler",
                "s",
                (
                    ("max(crossover_pooler_last_pause_seconds)", "the last one"),
                    ("max(crossover_pooler_paused)", "paused now"),
                ),
            ),
        ),
    ),
    Row(
        "Language models",
        (
            Panel(
                "Calls", "ops", ((_rate("crossover_llm_requests_total", "alias, outcome"), "{{alias}} {{outcome}}"),)
            ),
            Panel(
                "First byte, p95",
                "s",
                ((_quantile("crossover_llm_first_byte_seconds", "backend", 0.95), "{{backend}}"),),
            ),
            Panel(
                "Breakers",
                "none",
                (("max by (backend, model) (crossover_llm_breaker)", "{{backend}} {{model}}"),),
                "0 closed, 1 half open, 2 open",
            ),
            Panel(
                "Answered by the other side",
                "ops",
                ((_rate("crossover_llm_fallbacks_total", "backend, failure"), "{{backend}}: {{failure}}"),),
            ),
        ),
    ),
    Row(
        "Backtests and services",
        (
            Panel("Backtests that ended", "ops", ((_rate("crossover_backtests_total", "state"), "{{state}}"),)),
            Panel(
                "Run time of a backtest, p95",
                "s",
                ((_quantile("crossover_backtest_seconds", "engine", 0.95), "{{engine}}"),),
            ),
            Panel(
                "Requests answered with an error",
                "ops",
                (('sum by (job) (rate(crossover_http_requests_total{status=~"5.."}[$__rate_interval]))', "{{job}}"),),
            ),
            Panel(
                "Outbox of the trading engine", "short", (("max(crossover_engine_outbox_waiting)", "events that wait"),)
            ),
        ),
    ),
)


def dashboard(rows: Sequence[Row] = ROWS) -> dict[str, Any]:
    """As Grafana imports it (schema version 39, Grafana 11 and newer)."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        panels.append(
            {
                "id": len(panels) + 1, "type": "row", "title": row.title, "collapsed": False, "panels": [],
                "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": y},
            }
        )  # fmt: skip
        y += 1
        for number, panel in enumerate(row.panels):
            across, down = number % (_COLUMNS // _WIDTH), number // (_COLUMNS // _WIDTH)
            panels.append(_panel(len(panels) + 1, panel, across * _WIDTH, y + down * _HEIGHT))
        y += -(-len(row.panels) // (_COLUMNS // _WIDTH)) * _HEIGHT
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "title": "Crossover", "uid": "crossover", "schemaVersion": 39, "editable": True, "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"}, "templating": {"list": [source]}, "panels": panels,
    }  # fmt: skip


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(panel.series)
        ],
    }


def text() -> str:
    """What the file holds."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
