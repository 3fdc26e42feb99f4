"""`crossover strays`: what was written past the pooler at the database that does not serve, listed and settled.

The work is done by `python -m cutover.strays` in a pod beside the data, under the lock of a switch.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from adapters.routes.jobs import KubernetesJobs
from adapters.routes.kubernetes import connect
from cli.auditing import user_here
from cli.errors import CliError
from cli.options import Context, Json, Namespace
from cli.pod_reports import report_of, show
from contracts import names
from contracts.stages import Component

JOB_NAME = "strays"
COMMAND = ("python", "-m", "cutover.strays")


def strays(
    component: Annotated[Component, typer.Argument(help="The component: only a database has strays.")],
    apply: Annotated[
        bool, typer.Option("--apply", help="Do at the serving side what they did, as a client would.")
    ] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Make the rows as they are at the serving side; the changes stay listed.")
    ] = False,
    stray: Annotated[
        list[str] | None, typer.Option("--stray", help="Only this one, as it is listed; give it once for each.")
    ] = None,
    as_json: Json = False,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """List what was written past the pooler at the side that does not serve; --apply or --discard settles it."""
    if component is not Component.DATABASE:
        raise CliError(f"{component.value} has no strays: nothing of it was asked", "crossover strays database")
    if apply and discard:
        raise CliError("--apply and --discard exclude each other: nothing was settled", "give one of them")
    if stray and not (apply or discard):
        raise CliError("--stray says what is to be settled, and nothing is", "add --apply or --discard")
    action = "apply" if apply else "discard" if discard else "list"
    chosen = [part for one in stray or () for part in ("--stray", one)]
    by = ["--by", user_here()]
    jobs = KubernetesJobs(connect(context), namespace)
    code, output = jobs.run_beside(component, JOB_NAME, [*COMMAND, action, *chosen, *by])
    report = report_of(output, "run it again; kubectl get events tells why a pod did not start")
    show(code, report, lines, as_json=as_json)


def lines(report: dict[str, Any]) -> list[str]:
    """A report for people."""
    found = report["strays"]
    told = [line for one in found for line in one["lines"]]
    told += [f"{one['verdict']}: {one['name']} at {one['side']}" for one in report["settled"]]
    if report["error"]:
        return [*told, f"error: {report['error']}"]
    if report["action"] != "list":
        return [*told, f"{len(report['settled'])} of {len(found)} strays were settled"]
    if not found:
        return ["no stray: nothing was written past the pooler, or all of it is settled"]
    return [
        *told,
        f"{len(found)} strays; each change stands in crossover.stranded at both sides",
        "  to do at the serving side what they did: crossover strays database --apply",
        "  to make the rows as at the serving side: crossover strays database --discard",
    ]
