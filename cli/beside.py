"""A component's own preflight, run in a pod beside its data: what cannot be reached from here is asked there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from adapters.routes.base import RouteError
from adapters.routes.jobs import KubernetesJobs
from cli.errors import CliError
from cli.pod_reports import report_of
from contracts.stages import Component
from validation.result import Check, Verdict

SECONDS = 600.0
_AT_ONCE = 2
"""Pods at a time: each asks for CPU and memory of its own."""

type Said = Callable[[Component], str]
"""What the pod of a component wrote. Raises RouteError."""


def asked_in_pods(jobs: KubernetesJobs) -> Said:
    """The real one."""

    def said(component: Component) -> str:
        told: list[str] = []
        arguments = ["--component", component.value, "--check", "--preflight"]
        jobs.run_like_transition(component, arguments, told.append, SECONDS)
        return "\n".join(told)

    return said


def items_beside(said: Said, components: Sequence[Component]) -> list[Check]:
    """The items of each. What cannot be asked could not be checked, and keeps nothing else from being so."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [check for found in pool.map(lambda one: _items(said, one), components) for check in found]


def _items(said: Said, component: Component) -> list[Check]:
    name, fix = f"{component.value}: preflight", f"crossover validate {component.value}"
    expected = "its items hold, asked beside its data"
    try:
        report = report_of(said(component), fix)
    except (RouteError, CliError) as error:
        return [Check.unknown(name, expected=expected, why=str(error), fix=fix)]
    found = [_item(component, item) for step in report.get("steps") or [] for item in step.get("items") or []]
    verdict, message = str(report.get("verdict", "")), str(report.get("message", ""))
    if any(not check.outcome.passed for check in found) or (found and verdict == "holds"):
        return found
    # Something that is no item: a fence that stands, config that does not fit, a backend that broke off.
    if verdict == "does not hold":
        return [*found, Check.that(name, False, expected=expected, found=message, fix=fix)]
    return [*found, Check.unknown(name, expected=expected, why=message or "the pod reported no item", fix=fix)]


def _item(component: Component, item: Mapping[str, Any]) -> Check:
    """As cutover/reporting.py tells it. An outcome that this version does not know is none that holds."""
    told = str(item.get("verdict"))
    return Check(
        name=f"{component.value}: {item.get('name')}",
        outcome=Verdict(told) if told in list(Verdict) else Verdict.COULD_NOT_CHECK,
        expected=str(item.get("expected", "")),
        found=str(item.get("found", "")),
        detail=str(item.get("detail", "")),
        fix=str(item.get("fix", "")),
    )
