"""`crossover validate`: one component, or all of them and the services before them, as they stand. Changes nothing but
what is kept of the last comparison."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from adapters.routes.base import RouteError
from adapters.routes.jobs import KubernetesJobs
from adapters.routes.kubernetes import connect
from adapters.routes.services import unready
from cli import monitor
from cli.errors import CliError
from cli.moving import FAILED, refuse_for_all_only, refuse_unmovable, single
from cli.options import Context, Namespace, StackName
from cli.pod_reports import report_of
from cli.replay import load, through
from cli.stack import DEFAULT_STACK
from cli.status import MOVABLE
from contracts import names
from contracts.stages import Component
from cutover.errors import CouldNotCheck, StepFailed
from validation.api.replaying import ask_all, compared
from validation.result import Report, Verdict, combine

VALIDATE_SECONDS = 3600.0
"""To compare all rows of a large database takes its time."""
AT_ONCE = 2
"""Checks beside the data that run at a time: each reads a backend whole."""
HOLDS, DOES_NOT_HOLD, COULD_NOT_CHECK = "holds", StepFailed.verdict, CouldNotCheck.verdict
_WORDS = {
    Verdict.HOLDS: HOLDS, Verdict.DOES_NOT_HOLD: DOES_NOT_HOLD, Verdict.COULD_NOT_CHECK: COULD_NOT_CHECK
}  # fmt: skip
_out = Console()


class Finding(BaseModel):
    """What was found of a component, a service, a service's recorded traffic, or how all of it performs. `verdict`:
    `holds`, or why not, as the run of a transition says it."""

    model_config = ConfigDict(frozen=True)

    of: str
    kind: Literal["component", "service", "traffic", "performance"]
    verdict: str
    detail: str = ""
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict == HOLDS


def validate(
    component: Annotated[Component | None, typer.Argument(help="The component; none with --all.")] = None,
    checks: Annotated[
        list[str] | None, typer.Argument(help="Of backtesting: some of its checks, by name; else all that a gate asks.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every component, and the services before them.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Of backtesting: a page with what was found, drawn.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="With --all: compare performance with it; crossover monitor.")
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="With --baseline: how long to watch.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="With --all: what was found, for machines.")] = False,
    traffic: Annotated[
        Path | None, typer.Option("--traffic", help="With --all: what `crossover replay record` wrote, asked again.")
    ] = None,
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Check COMPONENT as it stands, beside its data, and change nothing.

    --all checks every component, and whether each service is ready.
    """
    chosen = single(component, every)
    if chosen is None:
        if report is not None:
            raise CliError("--report is of backtesting alone", "crossover validate backtesting --report FILE")
        performance = _performance(baseline, minutes, stack, context, namespace)
        _validate_all(context, namespace, as_json, traffic, performance)
        return
    refuse_for_all_only(json=as_json, traffic=traffic is not None, baseline=baseline is not None)
    refuse_unmovable(chosen)
    if checks or report is not None:
        if chosen is not Component.BACKTESTING:
            raise CliError(
                f"{chosen.value} has no checks by name, and no page", f"crossover validate {chosen.value} alone"
            )
        # Imported here: nothing else waits for plotly.
        from cli import backtest_report

        if code := backtest_report.run(checks or [], report, context, namespace, VALIDATE_SECONDS):
            raise typer.Exit(code)
        return
    jobs = KubernetesJobs(connect(context), namespace)
    if not jobs.run_like_transition(chosen, _check(chosen), print, VALIDATE_SECONDS):
        raise typer.Exit(FAILED)


def _performance(
    baseline: Path | None, minutes: float, stack: str, context: str | None, namespace: str
) -> Callable[[], Report] | None:
    """What compares with `baseline`, which is read now: before anything takes its time. Raises CliError."""
    if baseline is None:
        return None
    before = monitor.read_baseline(baseline)
    return lambda: monitor.compared(
        before, monitor.watch_here(context, namespace, stack, minutes, monitor.EVERY_SECONDS)
    )  # fmt: skip


def _validate_all(
    context: str | None,
    namespace: str,
    as_json: bool,
    traffic: Path | None,
    performance: Callable[[], Report] | None,
) -> None:
    exchanges = () if traffic is None else load(traffic)
    api = connect(context)
    jobs = KubernetesJobs(api, namespace)
    found = gathered(
        lambda component: _said(jobs, component),
        lambda service: unready(api, namespace, service),
        MOVABLE,
        names.SERVICES,
    )
    found += answered(compared(list(ask_all(exchanges, through(api, namespace)))))
    if performance is not None:
        # After the others: to compare all rows would slow down what is watched.
        found.append(performed(performance))
    holds = all(one.holds for one in found)
    if as_json:
        print(json.dumps({"holds": holds, "found": [one.model_dump() for one in found]}))
    else:
        _out.print(shown(found))
    if not holds:
        raise typer.Exit(FAILED)


def gathered(
    said: Callable[[Component], str],
    why_unready: Callable[[str], str | None],
    components: Sequence[Component],
    services: Sequence[str],
) -> list[Finding]:
    """What was found of all. `said`: what the check of a component told; `why_unready`: what is wrong with a service.
    What cannot be asked could not be checked, and keeps nothing else from being so."""

    def of_component(component: Component) -> Finding:
        began = time.monotonic()
        try:
            report = report_of(said(component), f"crossover validate {component.value}")
        except (RouteError, CliError) as error:
            report = {"verdict": COULD_NOT_CHECK, "message": str(error)}
        return Finding(
            of=component.value, kind="component", verdict=str(report.get("verdict", COULD_NOT_CHECK)),
            detail=str(report.get("message", "")), seconds=round(time.monotonic() - began, 1),
        )  # fmt: skip

    def of_service(service: str) -> Finding:
        try:
            why = why_unready(service)
        except RouteError as error:
            return Finding(of=service, kind="service", verdict=COULD_NOT_CHECK, detail=str(error))
        return Finding(of=service, kind="service", verdict=HOLDS if why is None else DOES_NOT_HOLD, detail=why or "")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [*pool.map(of_service, services), *pool.map(of_component, components)]


def answered(report: Report) -> list[Finding]:
    """Of recorded traffic that was asked again: one for each service, with the first answer that is not the same."""
    found = []
    ordered = sorted(report.checks, key=lambda check: check.name.partition(" ")[0])
    for service, checks in groupby(ordered, key=lambda check: check.name.partition(" ")[0]):
        all_of = tuple(checks)
        wrong = [check for check in all_of if not check.outcome.passed]
        detail = f"{len(wrong)} of {len(all_of)}: {wrong[0].name}: {wrong[0].detail}" if wrong else ""
        verdict = _WORDS[combine(check.outcome for check in all_of)]
        found.append(Finding(of=service, kind="traffic", verdict=verdict, detail=detail))
    return found


def performed(compared: Callable[[], Report]) -> Finding:
    """Whether the backend performs as its baseline. What cannot be asked could not be checked."""
    began = time.monotonic()
    try:
        report = compared()
    except RouteError as error:
        return Finding(of="performance", kind="performance", verdict=COULD_NOT_CHECK, detail=str(error))
    verdict = _WORDS[report.overall()]
    wrong = [f"{check.name}: {check.found} ({check.detail})" for check in report.failures()]
    detail = "; ".join(wrong) or f"{len(report.checks)} figures are as good as the baseline's"
    seconds = round(time.monotonic() - began, 1)
    return Finding(of="performance", kind="performance", verdict=verdict, detail=detail, seconds=seconds)


def shown(found: Sequence[Finding]) -> Table:
    """The table for people."""
    table = Table()
    for column in ("of", "verdict", "s", ""):
        table.add_column(column)
    for one in found:
        table.add_row(one.of, one.verdict, f"{one.seconds:.0f}" if one.seconds else "", one.detail.partition("\n")[0])
    return table


def _said(jobs: KubernetesJobs, component: Component) -> str:
    told: list[str] = []
    jobs.run_like_transition(component, _check(component), told.append, VALIDATE_SECONDS)
    return "\n".join(told)


def _check(component: Component) -> list[str]:
    return ["--component", component.value, "--check"]
