"""The deployment page: what runs where, at which stage, from which image, with which resources. Pure."""

from __future__ import annotations

from cli.documents.markdown import cell, code, table
from cli.documents.model import Facts


def deployment_page(facts: Facts) -> str:
    """The whole page."""
    parts = [
        f"# Deployment of stack {cell(facts.stack)}",
        "Written by `crossover docs` from config, routes and cluster; write it anew rather than change it. It has "
        "no secrets.",
        _gaps(facts),
        "## Stages",
        table(
            ("component", "wanted", "stands at", "serves", "deployed", "epoch"),
            [
                (one.component.value, one.wanted, one.active, one.serves, one.deployed, one.epoch)
                for one in facts.standings
            ],
        ),
        "## What runs",
        _workloads(facts),
        "## Addresses",
        table(
            ("address within the cluster", "ports"),
            [
                (
                    code(f"{one.name}.{one.namespace}.svc.{facts.cluster_domain}") + (" (each pod)" * one.headless),
                    ", ".join(f"{cell(name)} {port}" for name, port in one.ports) or "-",
                )
                for one in facts.addresses
            ],
        ),
        "## Volumes",
        table(
            ("claim", "namespace", "size", "class"),
            [(code(one.name), one.namespace, one.size, cell(one.storage_class)) for one in facts.volumes],
        ),
        "## Config that is not the default",
        table(
            ("key", "value", "default"),
            [(code(f"crossover:{one.key}"), code(one.value), code(one.default)) for one in facts.settings],
        ),
        "## Versions",
        table(("of", "version"), [(cell(name), cell(facts.versions[name])) for name in sorted(facts.versions)]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _gaps(facts: Facts) -> str:
    if not facts.gaps:
        return ""
    return "\n".join(["**Not complete:**", "", *(f"- {cell(gap)}" for gap in facts.gaps)])


def _workloads(facts: Facts) -> str:
    rows = []
    for one in facts.workloads:
        for number, each in enumerate(one.containers):
            what = (one.namespace, one.kind, code(one.name), cell(one.runs)) if not number else ("", "", "", "")
            rows.append((*what, cell(each.name), code(each.image), cell(each.requests), cell(each.limits)))
    return table(("namespace", "kind", "name", "runs", "container", "image", "requests", "limits"), rows)
