"""`crossover`: status, doctor, migrate, rollback, validate, backup, bars, dead-letters, strays, bench, sweep: a layer
over stack config and `pulumi up`.

Exit status: 0 done, or in step; 1 a check or an update failed, or out of step; 2 refused before anything was touched.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from adapters.routes.base import RouteError
from adapters.routes.jobs import KubernetesJobs
from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect
from cli import backup, bars, bench, dead_letters, doctor, strays, sweep
from cli.declared import entry, file_of, verdict_hours, wanted_stages
from cli.errors import CliError
from cli.stack import DEFAULT_STACK, ROOT, Stack
from cli.status import MOVABLE, gather, lines, table
from contracts import names
from contracts.stages import Component, Stage
from cutover import previewing
from cutover.errors import CutoverError
from cutover.plan import ImpossiblePlan
from cutover.previewing import Wishes
from cutover.tables import TABLES

FAILED, REFUSED = 1, 2
VALIDATE_SECONDS = 3600.0
"""To compare all rows of a large database takes its time."""

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_show_locals=False)
app.add_typer(backup.app, name="backup")
app.add_typer(bars.app, name="bars")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(sweep.app, name="sweep")
app.command("strays")(strays.strays)
_out = Console()
_StackName = Annotated[str, typer.Option("--stack", "-s", envvar="CROSSOVER_STACK", help="The Pulumi stack.")]
_Context = Annotated[
    str | None, typer.Option("--context", envvar="CROSSOVER_KUBE_CONTEXT", help="The Kubernetes context.")
]
_Component = Annotated[Component, typer.Argument(help="The component.")]
_Preview = Annotated[bool, typer.Option("--preview", help="Show what would be done; change nothing.")]
_Namespace = Annotated[str, typer.Option("--namespace", envvar=names.ENV_NAMESPACE, help="Where the backend lives.")]


@app.command()
def status(
    stack: _StackName = DEFAULT_STACK,
    context: _Context = None,
    namespace: _Namespace = names.NAMESPACE,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show each component: stage wanted and active, who serves, epoch, lag, last verdict."""
    config = Stack(stack).config()
    api = connect(context)
    registry = KubernetesRegistry(namespace, api)
    wanted, limits = wanted_stages(config, file_of(stack)), {one: verdict_hours(config, one) for one in Component}
    rows = gather(wanted, KubernetesRouteStore(namespace, api), registry, registry, limits)
    if as_json:
        print(json.dumps({"stack": stack, "components": [row.model_dump(mode="json") for row in rows]}))
    else:
        _out.print(table(rows, stack))
        for row in rows:
            for line in lines(row):
                _out.print(f"  {line}", highlight=False, markup=False)
    if any(row.state in {"out of step", "unknown"} for row in rows):
        raise typer.Exit(FAILED)


@app.command()
def migrate(
    component: _Component,
    to: Annotated[Stage, typer.Option("--to", help="The stage to bring it to.")] = Stage.SCALE,
    preview: _Preview = False,
    stack: _StackName = DEFAULT_STACK,
    context: _Context = None,
    namespace: _Namespace = names.NAMESPACE,
) -> None:
    """Move COMPONENT to the Scale backend: sets its stage in stack config and runs pulumi up."""
    _move(component, to, preview, Stack(stack), context, namespace)


@app.command()
def rollback(
    component: _Component,
    retire: Annotated[
        bool, typer.Option("--retire", help="Also take the new side down (mvp instead of shadow).")
    ] = False,
    emergency: Annotated[
        bool, typer.Option("--emergency", help="The new side is dead: flee from it, and ask it nothing.")
    ] = False,
    preview: _Preview = False,
    stack: _StackName = DEFAULT_STACK,
    context: _Context = None,
    namespace: _Namespace = names.NAMESPACE,
) -> None:
    """Put COMPONENT back on the MVP backend. The new side stays, kept in step, for the next try.

    After an --emergency, once the new side is back: the same without it delivers what only the new side held (the
    database's: tells and keeps it).
    """
    if retire and emergency:
        raise CliError(
            "--retire takes the new side down, and in an --emergency it may hold what nobody else has",
            f"crossover rollback {component.value} --emergency; once it is back, crossover rollback {component.value} "
            "--retire",
        )
    stage = Stage.MVP if retire else Stage.SHADOW
    _move(component, stage, preview, Stack(stack), context, namespace, emergency=emergency)


@app.command()
def validate(
    component: _Component,
    checks: Annotated[
        list[str] | None, typer.Argument(help="Of backtesting: some of its checks, by name; else all that a gate asks.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Of backtesting: a page with what was found, drawn.")
    ] = None,
    context: _Context = None,
    namespace: _Namespace = names.NAMESPACE,
) -> None:
    """Check COMPONENT as it stands, beside its data, and change nothing."""
    _refuse_unmovable(component)
    if checks or report is not None:
        if component is not Component.BACKTESTING:
            raise CliError(
                f"{component.value} has no checks by name, and no page",
                f"crossover validate {component.value} alone",
            )
        # Imported here: nothing else waits for plotly.
        from cli import backtest_report

        if code := backtest_report.run(checks or [], report, context, namespace, VALIDATE_SECONDS):
            raise typer.Exit(code)
        return
    jobs = KubernetesJobs(connect(context), namespace)
    if not jobs.run_like_transition(component, ["--component", component.value, "--check"], print, VALIDATE_SECONDS):
        raise typer.Exit(FAILED)


@app.command("doctor")
def diagnose(
    stack: _StackName = DEFAULT_STACK,
    context: _Context = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", envvar=names.ENV_NAMESPACE, help="Else the one that config names.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check config, tools, cluster and each component from here, each with its fix. Exit status 2: not to be asked."""
    report = doctor.examine(ROOT, stack, os.environ, doctor.Cluster.connected, context=context, namespace=namespace)
    if as_json:
        print(report.to_json())
    else:
        _out.print(report.table())
    raise typer.Exit(doctor.EXIT[report.overall()])


@app.command("bench")
def measure(
    component: _Component,
    parts: Annotated[list[str] | None, typer.Argument(help="Parts of it; all where none is named.")] = None,
) -> None:
    """Measure what moving COMPONENT costs, on real servers that are started here: python -m benchmarks."""
    raise typer.Exit(bench.run(ROOT, component, parts or ()))


def _move(
    component: Component,
    stage: Stage,
    preview: bool,
    stack: Stack,
    context: str | None,
    namespace: str,
    *,
    emergency: bool = False,
) -> None:
    _refuse_unmovable(component)
    if emergency and not TABLES[component].emergencies:
        raise CliError(
            f"{component.value} has no emergency: going back asks the side that is left nothing in any case",
            f"crossover rollback {component.value}",
        )
    before = stack.wanted()[component]  # reads the config first: a broken one must not be written to
    how = ", in an emergency" if emergency else ""
    _out.print(f"{component.value}: {before.value} => {stage.value}{how} (stack {stack.name})", highlight=False)
    if preview:
        _show_steps(component, stage, context, namespace, entry(stack.config(), component), emergency=emergency)
        raise typer.Exit(stack.preview(component, stage, emergency=emergency))
    stack.ask_for(component, stage, emergency=emergency)
    code = stack.up()
    if code != 0:
        _out.print(
            f"[red]pulumi up failed.[/] Config now asks for {stage.value}; run `pulumi up` again to try again, or\n"
            f"  pulumi config set --path crossover:{component.value}.stage {before.value} && pulumi up\n"
            "to go back. `crossover status` shows where traffic is."
        )
        raise typer.Exit(FAILED)


def _show_steps(
    component: Component,
    stage: Stage,
    context: str | None,
    namespace: str,
    config: Mapping[str, Any],
    *,
    emergency: bool = False,
) -> None:
    try:
        route = KubernetesRouteStore(namespace, connect(context)).read(component).route
    except RouteError as error:
        _out.print(f"the live route could not be read, so the steps are not known: {error}", highlight=False)
        return
    try:
        steps = previewing.preview(route, component, stage, Wishes.of(config), emergency=emergency)
    except (ImpossiblePlan, CutoverError) as error:
        raise CliError(str(error), "crossover status shows where traffic is") from None
    for line in steps:
        _out.print(line, highlight=False)


def _refuse_unmovable(component: Component) -> None:
    if component not in MOVABLE:
        raise CliError(
            f"{component.value} cannot be moved by this version: only {', '.join(c.value for c in MOVABLE)} can",
            f"leave crossover:{component.value}.stage at mvp",
        )


def main() -> None:
    """The entry point: errors that a user can act on are told without a traceback."""
    logging.basicConfig(level=os.environ.get(names.ENV_LOG_LEVEL, "ERROR"), format="%(levelname)s %(message)s")
    try:
        app(prog_name="crossover")
    except (CliError, RouteError) as error:
        print(f"error: {error}", file=sys.stderr)
        fix = getattr(error, "fix", "")
        if fix:
            print(f"  fix: {fix}", file=sys.stderr)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
