"""`crossover`: status, doctor, preflight, migrate, rollback, validate, monitor, replay, probes, uat, attest, audit,
report, docs, console, backup, bars, dead-letters, strays, bench, sweep: a layer over stack config and `pulumi up`.

Exit status: 0 done, or in step; 1 a check or an update failed, or out of step; 2 refused before anything was touched;
3 something waits (cli/moving.py).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from adapters.routes.base import RouteError
from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect
from cli import (
    attest,
    audit,
    backup,
    bars,
    bench,
    dead_letters,
    doctor,
    monitor,
    moving,
    preflight,
    probing,
    replay,
    strays,
    sweep,
    validating,
)  # fmt: skip
from cli.console import console as live_page
from cli.declared import file_of, verdict_hours, wanted_stages
from cli.documents.command import docs
from cli.errors import CliError
from cli.moving import FAILED
from cli.options import Context, Json, Namespace, StackName
from cli.report import report as report_page
from cli.stack import DEFAULT_STACK, ROOT, Stack
from cli.status import gather, lines, table
from cli.uat.command import uat
from contracts import names
from contracts.stages import Component

REFUSED = 2

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_show_locals=False)
app.add_typer(audit.app, name="audit")
app.add_typer(backup.app, name="backup")
app.add_typer(bars.app, name="bars")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(replay.app, name="replay")
app.add_typer(sweep.app, name="sweep")
app.command("strays")(strays.strays)
app.command("report")(report_page)
app.command("probes")(probing.probes)
app.command("console")(live_page)
app.command("migrate")(moving.migrate)
app.command("rollback")(moving.rollback)
app.command("validate")(validating.validate)
app.command("attest")(attest.attest)
app.command("uat")(uat)
app.command("docs")(docs)
app.command("preflight")(preflight.preflight)
app.command("monitor")(monitor.monitor)
_out = Console()
_Component = Annotated[Component, typer.Argument(help="The component.")]


@app.command()
def status(
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
    as_json: Json = False,
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


@app.command("doctor")
def diagnose(
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", envvar=names.ENV_NAMESPACE, help="Else the one that config names.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also ask each component's backends, in a pod beside its data.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check config, tools, cluster, what runs and each component, each with its likely cause and its fix. Exit status
    2: something could not be asked."""
    report = doctor.examine(
        ROOT, stack, os.environ, doctor.Cluster.connected, context=context, namespace=namespace, deep=deep
    )
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
