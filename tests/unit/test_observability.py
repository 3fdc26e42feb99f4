"""What to watch a stack by names metrics that there are, and documents that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

import adapters.metrics  # noqa: F401 - it fills the registry
import services.common.metrics  # noqa: F401 - so does this
from observability import dashboard

ROOT = Path(__file__).parents[2]
GROUPS = yaml.safe_load((ROOT / "observability/alerts.yaml").read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
SERIES = {
    f"{metric.name}{suffix}": metric
    for metric in REGISTRY.collect()
    for suffix in {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(metric.type, [""])
}
_METRIC = re.compile(r"\bcrossover_\w+")
_LABELS = re.compile(r"\bby \(([^)]*)\)")
EXPRESSIONS = [
    *(rule["expr"] for rule in RULES),
    *(expression for row in dashboard.ROWS for panel in row.panels for expression, _ in panel.series),
]


def labels_of(name: str) -> set[str]:
    """The labels that the metric of a series was made with, and those that Prometheus adds."""
    base = re.sub(r"_(total|bucket|sum|count)$", "", name)
    for collector in set(REGISTRY._collector_to_names):
        if getattr(collector, "_name", None) == base:
            return {*getattr(collector, "_labelnames", ()), "le", "job", "instance"}
    raise AssertionError(f"{name} is no metric")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_is_there_and_has_the_labels_that_it_is_asked_by(expression: str) -> None:
    found = set(_METRIC.findall(expression))
    assert found and found <= set(SERIES), found - set(SERIES)
    for labels in _LABELS.findall(expression):
        assert {label.strip() for label in labels.split(",")} <= labels_of(next(iter(found)))
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_what_follows_and_where_to_go_on(rule: dict[str, Any]) -> None:
    told = rule["annotations"]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert told["summary"].endswith(".") and told["description"].endswith(".")
    assert told["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
    assert re.match(r"(crossover|pulumi|kubectl) ", told["command"])
    used = set(re.findall(r"\$labels\.(\w+)", told["summary"]))
    assert used <= {label.strip() for labels in _LABELS.findall(rule["expr"]) for label in labels.split(",")}


def test_each_alert_stands_once_in_the_document() -> None:
    names = [str(rule["alert"]) for rule in RULES]
    assert len(set(names)) == len(names)
    text = (ROOT / "docs/observability.md").read_text()
    assert [name for name in names if text.count(f"`{name}`") != 1] == []


def test_the_runbook_has_a_section_for_each_alert_with_its_severity_and_what_to_do_and_no_other() -> None:
    text = (ROOT / "docs/runbook.md").read_text()
    parts = re.split(r"^## (\w+)$", text.partition("# Alerts\n")[2], flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    assert set(sections) == {str(rule["alert"]) for rule in RULES}
    for rule in RULES:
        told = sections[rule["alert"]]
        assert told.strip().startswith(f"**{rule['labels']['severity'].capitalize()}.**"), rule["alert"]
        assert re.search(r"`(crossover|kubectl|pulumi) |\]\(#|GET /|^\| ", told, re.MULTILINE), rule["alert"]


def test_the_dashboard_is_what_its_code_makes() -> None:
    assert dashboard.FILE.read_text() == dashboard.text(), "run python -m observability.dashboard"


def test_no_panel_lies_on_another_or_beyond_the_edge() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard.dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
