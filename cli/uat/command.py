"""`crossover uat`: asks a stack that is up what its users expect of it, and reports who asked, when, at which stages.

Exit status: 0 accepted; 1 something does not hold, or a stage changed meanwhile; 2 it could not be asked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from adapters.durable import replacing
from adapters.routes.base import RouteError, RouteMissing, RouteStore
from adapters.routes.kubernetes import KubernetesRouteStore, connect
from cli.auditing import Trail, actor
from cli.errors import CliError
from cli.options import Context, Json, Namespace, StackName
from cli.stack import DEFAULT_STACK, ROOT
from cli.uat.model import UatReport
from cli.uat.page import page
from cli.uat.running import Target, run
from contracts import names
from contracts.audit import Kind
from contracts.stages import Component
from validation.verdicts import moment

FAILED = 1
_out = Console()
_err = Console(stderr=True)


def uat(
    report: Annotated[Path | None, typer.Option("--report", help="A page with what came of it.")] = None,
    before: Annotated[
        Path | None, typer.Option("--before", help="The JSON of an earlier run: what it saw has to be there still.")
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="SERVICE=URL", help="Where a service answers; else through the API server."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="The market is closed: expect nothing new.")] = False,
    as_json: Json = False,
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Ask the backend what its users expect: that orders are found again, questions answered, backtests done, and the
    APIs are as documented. It submits one backtest and asks two questions, and changes nothing else."""
    if report is not None and not report.absolute().parent.is_dir():
        raise CliError(
            f"there is no folder {report.parent}: the page could not be written", f"mkdir -p {report.parent}"
        )
    earlier = _read(before)
    target = Target(addresses(url or ()), context, namespace)
    began, at_first = datetime.now(UTC), stages(context, namespace)
    expectations, seen = run(ROOT, target, before, quiet=quiet, output=sys.stderr)
    at_last = stages(context, namespace)
    made = UatReport(
        stack=stack, by=actor(), began=moment(began), ended=moment(datetime.now(UTC)), stages=at_last,
        moved=at_first != at_last, earlier=earlier.digest if earlier is not None else "",
        expectations=expectations, seen=seen,
    )  # fmt: skip
    _note(made, context)
    if report is not None:
        with replacing(report) as aside:
            aside.write_text(page(made), encoding="utf-8")
    if as_json:
        print(made.to_json())
    else:
        _out.print(shown(made))
    if not made.accepted:
        raise typer.Exit(FAILED)


def _read(before: Path | None) -> UatReport | None:
    if before is None:
        return None
    try:
        return UatReport.read(before.read_text())
    except OSError as error:
        raise CliError(
            f"{before} cannot be read: {error.strerror}", "give the JSON of an earlier crossover uat"
        ) from None


def addresses(given: Sequence[str]) -> dict[str, str]:
    """By service, where it answers. Raises CliError on one that there is not."""
    found = {}
    for one in given:
        service, _, address = one.partition("=")
        if service not in names.SERVICES or not address.startswith(("http://", "https://")):
            raise CliError(
                f"--url {one} says no service's address", f"SERVICE=http://HOST:PORT, of {', '.join(names.SERVICES)}"
            )
        found[service] = address
    return found


def stages(context: str | None, namespace: str) -> dict[str, str]:
    """By component, the stage of its route; what is not known is said so."""
    try:
        return stages_of(KubernetesRouteStore(namespace, connect(context)))
    except RouteError:
        return {component.value: "not known: no cluster is asked" for component in Component}


def stages_of(routes: RouteStore) -> dict[str, str]:
    """The same, of routes."""
    found = {}
    for component in Component:
        try:
            route = routes.read(component).route
            found[component.value] = route.stage.value if route is not None else "not deployed"
        except RouteMissing:
            found[component.value] = "not deployed"
        except RouteError:
            found[component.value] = "not known: it could not be read"
    return found


def _note(made: UatReport, context: str | None) -> None:
    """An entry of the audit log, where there is a cluster that has one."""
    if any(stage.startswith("not known") for stage in made.stages.values()):
        _err.print("no route could be read: the audit log is told nothing of this run", highlight=False)
        return
    with Trail(made.stack, context) as trail:
        outcome = "accepted" if made.accepted else "not accepted"
        trail.note(Kind.ACCEPTANCE, None, outcome=outcome, counts=made.counts, stages=made.stages, digest=made.digest)


def shown(made: UatReport) -> Table:
    """The table for people."""
    table = Table(title=f"stack {made.stack}: {'accepted' if made.accepted else 'NOT accepted'}")
    for column in ("who", "expects", "outcome", ""):
        table.add_column(column)
    for one in made.expectations:
        table.add_row(one.who, one.expects, one.outcome, one.detail.partition("\n")[0])
    return table
