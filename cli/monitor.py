"""`crossover monitor`: after a migration, whether the backend performs as well as before it.

Exit status: 0 as good, or recorded; 1 worse; 2 not enough data, or nothing to compare with.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adapters.durable import replacing
from adapters.routes.kubernetes import KubernetesRouteStore, connect
from adapters.routes.kubernetes_resources import KubernetesResources
from cli.doctor import EXIT
from cli.errors import CliError
from cli.options import Context, Json, Namespace, StackName
from cli.stack import DEFAULT_STACK
from cli.watching import watch
from contracts import names
from contracts.stages import Stage
from validation.performance.comparing import compare
from validation.performance.measured import Measured, UnreadableBaseline
from validation.result import Report

EVERY_SECONDS = 15.0
UNCOMPARED = 2
_out = Console()

Minutes = Annotated[float, typer.Option("--minutes", min=0.1, max=24 * 60, help="How long to watch.")]
Baseline = Annotated[
    Path | None, typer.Option("--baseline", help="A file that crossover monitor --record wrote at mvp.")
]  # fmt: skip


def monitor(
    minutes: Minutes = 10.0,
    baseline: Baseline = None,
    record: Annotated[Path | None, typer.Option("--record", help="Write what was measured: the baseline.")] = None,
    every: Annotated[float, typer.Option("--every", min=1, max=600, help="Seconds between two reads.")] = EVERY_SECONDS,
    as_json: Json = False,
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Watch latencies, failures and lag for a while, and compare them with a baseline that was recorded before."""
    before = read_baseline(baseline) if baseline is not None else None
    measured = watch_here(context, namespace, stack, minutes, every)
    if record is not None:
        keep(measured, record)
    if before is None:
        _tell(measured, record, as_json)
        return
    report = compared(before, measured)
    print(report.to_json()) if as_json else _out.print(report.table())
    raise typer.Exit(EXIT[report.overall()])


def watch_here(context: str | None, namespace: str, stack: str, minutes: float, every: float) -> Measured:
    """Watch the cluster that `context` names; progress goes to stderr. Raises RouteError."""
    api = connect(context)
    return watch(
        KubernetesResources(namespace, api), KubernetesRouteStore(namespace, api), stack, minutes * 60, every, _progress
    )


def compared(before: Measured, now: Measured) -> Report:
    """The answers, and how long and at which stages both were measured."""
    stages = ", ".join(f"{component} {stage}" for component, stage in now.stages.items()) or "of unknown stages"
    subject = f"{stages}; {now.seconds / 60:.0f} min against {before.seconds / 60:.0f} of {before.at[:16]}"
    return Report(subject=subject, checks=compare(before, now), at=now.at)


def read_baseline(file: Path) -> Measured:
    """What `file` holds. Raises CliError."""
    fix = "crossover monitor --record FILE while everything is at mvp"
    try:
        return Measured.read(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"the baseline {file} cannot be read ({error}): nothing would be compared", fix) from None
    except UnreadableBaseline as error:
        raise CliError(f"{file} holds no baseline ({error}): nothing would be compared", fix) from None


def keep(measured: Measured, file: Path) -> None:
    """Write the baseline. Raises CliError where nothing was measured, or it cannot be written."""
    if not measured.latencies and not measured.shares:
        lacking = "; ".join(measured.lacking.values()) or "nobody asked the services for anything"
        raise CliError(
            f"nothing was measured ({lacking}): such a baseline would compare nothing",
            "record it under the load of a usual day; crossover doctor says whether services are ready",
        )
    try:
        with replacing(file) as aside:
            aside.write_text(measured.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise CliError(f"{file} cannot be written: {error}", "name another file") from None


def _tell(measured: Measured, record: Path | None, as_json: bool) -> None:
    """Where there is nothing to compare with."""
    if as_json:
        print(measured.model_dump_json())
    else:
        for name, spread in measured.latencies.items():
            told = ", ".join(f"p{share * 100:g} {spread.quantile(share) * 1000:.3g} ms" for share in (0.5, 0.95, 0.99))
            _say(f"{name}: {told} of {spread.count:.0f}")
        for name, part in measured.shares.items():
            _say(f"{name}: {part.bad:.0f} of {part.of:.0f}")
        for name, heights in measured.levels.items():
            _say(f"{name}: {heights.median:g}, {heights.most:g} at most")
    for where, why in measured.lacking.items():
        _progress(f"not measured: {where}: {why}")
    if record is None:
        _progress("nothing was compared: give --baseline FILE, or --record FILE to begin with")
        raise typer.Exit(UNCOMPARED)
    elsewhere = [component for component, stage in measured.stages.items() if stage != Stage.MVP.value]
    _progress(f"recorded in {record}" + (f", with {', '.join(elsewhere)} not at mvp" if elsewhere else ""))


def _say(line: str) -> None:
    _out.print(line, highlight=False, markup=False, soft_wrap=True)


def _progress(line: str) -> None:
    print(line, file=sys.stderr)
