"""The report as one HTML file: no script runs in it, and nothing is fetched."""

from __future__ import annotations

import json

from cli.report.html import Html, el, join, table
from cli.report.shell import embedded, whole
from cli.uat.model import Expectation, UatReport


def page(report: UatReport) -> str:
    """The whole file."""
    title = f"User acceptance of stack {report.stack}"
    verdict = "Accepted" if report.accepted else "Not accepted"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts.items())
    stages = list(report.stages.items())
    return whole(
        title,
        el("p", f"Run by {report.by}, {report.began} to {report.ended}", class_="dim"),
        el("p", el("span", verdict, class_="good" if report.accepted else "bad"), f": {counts or 'nothing was asked'}"),
        el("p", "A stage changed while it ran: it says nothing of either.", class_="box") if report.moved else "",
        el("h2", "At these stages"),
        table(("component", "stage"), [(name, stage) for name, stage in stages]),
        el("p", f"Held against the report with digest {report.earlier}", class_="dim") if report.earlier else "",
        *(_user(who, report) for who in dict.fromkeys(one.who for one in report.expectations)),
        el("h2", "Data"),
        el("p", "All that this page shows, as JSON. Its sha256: ", el("code", report.digest)),
        embedded(json.dumps(report.model_dump(mode="json"), sort_keys=True)),
    )


def _user(who: str, report: UatReport) -> Html:
    rows: list[tuple[object, ...]] = [
        (one.expects, _outcome(one), f"{one.seconds:.1f}", join(one.detail, " ", el("small", one.test)))
        for one in report.expectations if one.who == who
    ]  # fmt: skip
    return join(el("h2", who), table(("expects", "outcome", "s", ""), rows, numbers=(2,)))


def _outcome(one: Expectation) -> Html:
    colour = {"holds": "good", "does not hold": "bad", "not asked": "dim"}[one.outcome]
    return el("span", one.outcome, class_=colour)
