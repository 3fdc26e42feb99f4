"""`crossover sweep`: many backtests at once, here in processes or on the cluster as an Indexed Job.

A sweep is cut into pieces, each kept whole or not at all: whatever ends one, the same command goes on with what is
left. From here the backtesting service cannot be reached; what is asked of it is asked by a pod that may.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from adapters.backtesting import BacktestError
from adapters.backtesting.sweeps.progress import Progress, told
from adapters.backtesting.sweeps.ranking import value_of
from adapters.csv_bars import SHIPPED, parse_sources
from adapters.routes.kubernetes import connect
from adapters.routes.sweep_jobs import KubernetesSweeps, SweepJob
from cli.errors import CliError
from cli.options import Context, Json, Namespace
from cli.pod_reports import answer_of
from contracts import names
from contracts.sweeps import Row, Standing, Sweep, SweepAsked, SweepState

FAILED, INTERRUPTED = 1, 130
MOST_BYTES = 100_000
"""Of a spec for the cluster: it goes to a pod in a variable, and Linux gives one 128 KiB."""
HEAT_MAP = "heatmap.html"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?")
_SHOWN = ("total_return", "sharpe", "max_drawdown", "trades")
app = typer.Typer(no_args_is_help=True, help="Many backtests at once: a grid, draws at random, or a walk-forward.")
_out = Console()
_Spec = Annotated[Path, typer.Argument(help="The sweep that is asked for, as JSON: docs/backtest-sweeps.md.")]
_Job = Annotated[str, typer.Argument(help="The sweep's name, as `submit` said it.")]
_JobOrId = Annotated[str, typer.Argument(help="The sweep's name, or its id.")]


@app.command()
def run(
    spec: _Spec,
    folder: Annotated[Path, typer.Option("--folder", help="Gets the results; the same one again goes on.")],
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, max=256, help="How many at once; else one a core.")
    ] = None,
    csv: Annotated[
        str | None, typer.Option("--csv", envvar="BACKTESTING_CSV", help="SYMBOL=/path/bars.csv, by commas.")
    ] = None,
    strategies: Annotated[
        Path | None,
        typer.Option("--strategies", envvar=names.ENV_STRATEGIES_PATH, help="A folder of your own; they run confined."),
    ] = None,
) -> None:
    """Run a sweep on this machine."""
    # Imported here: what runs and draws takes a second, which no other command has to wait for.
    from adapters.backtesting.sweeps import laptop

    asked, own = read_spec(spec), _known(strategies)
    try:
        sources = {**SHIPPED, **(parse_sources(csv) if csv else {})}
        sweep = laptop.begin(asked, folder, sources, own)
    except (ValueError, BacktestError) as error:
        raise CliError(str(error), f"correct {spec}") from None
    _out.print(_said(sweep), highlight=False)
    last = Progress(0, sweep.indexes)
    with Bar(TextColumn("{task.description}"), BarColumn(), console=_out) as bar:
        task = bar.add_task("", total=sweep.indexes)

        def tell(progress: Progress) -> None:
            nonlocal last
            last = progress
            bar.update(task, completed=progress.done, description=told(progress))

        try:
            made = laptop.run(sweep, folder, sources, processes or os.cpu_count() or 1, tell, own)
        except KeyboardInterrupt:
            made = None
    if made is None:
        _out.print(f"stopped: {last.done} of {sweep.indexes} pieces are done. The same command goes on with the rest")
        raise typer.Exit(INTERRUPTED)
    _show_folder(sweep, folder, complete=made.complete)
    for index, why in sorted(made.failed.items()):
        _out.print(f"piece {index} is given up: {why}", highlight=False, markup=False)
    if not made.complete:
        raise typer.Exit(FAILED)


def _known(strategies: Path | None) -> Path | None:
    """The folder, once it is known what is in it, as a confined process says. Raises CliError."""
    if strategies is None:
        return None
    if not strategies.is_dir():
        raise CliError(f"{strategies} is no folder: none of your strategies could be run", "name one of Python files")
    from services.backtesting_service.own_strategies import know

    own = strategies.resolve()
    know(own)
    return own


def _show_folder(sweep: Sweep, folder: Path, *, complete: bool) -> None:
    from adapters.backtesting.sweeps.folders import SweepFolder
    from adapters.backtesting.sweeps.standing import standing_of

    kept = SweepFolder(folder)
    found = standing_of(sweep, kept.parts)
    _show(found)
    _draw(found, folder / HEAT_MAP)
    if complete:
        _out.print(f"all rows: {kept.results(sweep)}", highlight=False, soft_wrap=True)


@app.command()
def submit(
    spec: _Spec,
    parallelism: Annotated[int, typer.Option("--parallelism", min=1, help="How many pods at once.")] = 4,
    name: Annotated[str, typer.Option("--name", help="The Job's name; else one made of the sweep's id.")] = "",
    queue: Annotated[str | None, typer.Option("--queue", help="Kueue's queue, which says when it begins.")] = None,
    max_failed: Annotated[
        int | None, typer.Option("--max-failed", min=0, help="Give all up after so many pieces that failed for good.")
    ] = None,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Have a sweep run on the cluster. The same again does what is left of it, and never the same piece twice."""
    text = read_spec(spec).model_dump_json(exclude_defaults=True)
    if len(text) > MOST_BYTES:
        raise CliError(
            f"{spec} has {len(text):,} bytes, of at most {MOST_BYTES:,}: it cannot be given to a pod",
            "give fewer values, or draw them (random)",
        )
    if name and not _NAME.fullmatch(name):
        raise CliError(f"{name!r} can name no Job's pods", "use up to 50 of a-z, 0-9 and -, beginning with a letter")
    sweeps = KubernetesSweeps(connect(context), namespace)
    state = _answer(SweepState, *sweeps.ask(["register"], {names.ENV_SWEEP: text}))
    sweep = state.sweep
    _out.print(_said(sweep), highlight=False)
    if len(state.done) == sweep.indexes:
        _out.print(f"all of it is done, so there is nothing to do: crossover sweep top {sweep.id}", highlight=False)
        return
    job, new = sweeps.begin(
        sweep, name or f"sweep-{sweep.id[:12]}", parallelism=parallelism, queue=queue, max_failed=max_failed
    )
    there = f", {len(state.done)} of its pieces are there" if state.done else ""
    _out.print(f"{job.name} {'begins' if new else 'is under way already'}{there}", highlight=False)
    _out.print(f"  crossover sweep status {job.name}", highlight=False)


@app.command()
def status(name: _Job, as_json: Json = False, context: Context = None, namespace: Namespace = names.NAMESPACE) -> None:
    """Show how far a sweep is, and when it will end. Exit status: 1 where it failed."""
    job = KubernetesSweeps(connect(context), namespace).find(name)
    if as_json:
        print(json.dumps(_standing(job)))
    else:
        _out.print(f"{job.name}: {job.state}, {told(job.progress)}, {job.active} pods", highlight=False)
        if job.why:
            _out.print(f"  {job.why}; the rest goes on by the same `crossover sweep submit`", highlight=False)
    if job.state == "failed":
        raise typer.Exit(FAILED)


def _standing(job: SweepJob) -> Mapping[str, object]:
    return {
        "name": job.name, "sweep": job.sweep_id, "state": job.state, "pieces": job.progress.total,
        "completed": sorted(job.completed), "failed": sorted(job.failed), "active": job.active,
        "left_seconds": job.progress.left_seconds, "why": job.why,
    }  # fmt: skip


@app.command()
def top(
    name: _JobOrId,
    count: Annotated[int | None, typer.Option("--count", min=1, max=1000, help="Else as many as it asks for.")] = None,
    heat_map: Annotated[Path | None, typer.Option("--heat-map", help="The file that gets the heat map.")] = None,
    as_json: Json = False,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Show the best of a sweep so far."""
    sweeps = KubernetesSweeps(connect(context), namespace)
    sweep_id = _id_of(name, sweeps)
    flags = [] if count is None else ["--top", str(count)]
    found = _answer(Standing, *sweeps.ask(["show", "--sweep", sweep_id, *flags], {}))
    if as_json:
        print(found.model_dump_json())
    else:
        _show(found)
    if heat_map is not None:
        _draw(found, heat_map)


@app.command()
def cancel(name: _Job, context: Context = None, namespace: Namespace = names.NAMESPACE) -> None:
    """End a sweep. What is done stays, and the same `submit` goes on with the rest."""
    found = KubernetesSweeps(connect(context), namespace).cancel(name)
    _out.print(f"{name} is ended; {told(found.progress)}, which stay", highlight=False)


@app.command()
def delete(name: _JobOrId, context: Context = None, namespace: Namespace = names.NAMESPACE) -> None:
    """End a sweep, and delete all that was done of it."""
    sweeps = KubernetesSweeps(connect(context), namespace)
    sweep_id = _id_of(name, sweeps)
    for job in sweeps.of(sweep_id):  # or its pods would go on, and be refused
        sweeps.cancel(job.name)
    answer_of(*sweeps.ask(["delete", "--sweep", sweep_id], {}))
    _out.print(f"sweep {sweep_id} is deleted", highlight=False)


def _id_of(name: str, sweeps: KubernetesSweeps) -> str:
    return name if re.fullmatch("[0-9a-f]{32}", name) else sweeps.find(name).sweep_id


def read_spec(path: Path) -> SweepAsked:
    """The sweep in a file. Raises CliError."""
    try:
        return SweepAsked.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}", "name a JSON file") from None
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors()]
        raise CliError(f"{path} asks for no sweep: {'; '.join(told)}", "see docs/backtest-sweeps.md") from None


def _answer[Model: BaseModel](kind: type[Model], code: int, output: str) -> Model:
    return kind.model_validate(answer_of(code, output))


def _said(sweep: Sweep) -> str:
    skipped = f" ({sweep.skipped} combinations left out, {sweep.asked.strategy} will not have them)"
    return (
        f"sweep {sweep.id}: {sweep.cells} cells in {sweep.indexes} pieces by {sweep.engine}"
        f"{skipped if sweep.skipped else ''}"
    )


def _show(found: Standing) -> None:
    sweep = found.state.sweep
    _out.print(table(sweep, found.top))
    failed = f", {found.failed} of them failed" if found.failed else ""
    _out.print(f"{found.run} of {sweep.cells} cells are run{failed}", highlight=False)


def table(sweep: Sweep, rows: Sequence[Row]) -> Table:
    """The best rows, for people."""
    asked = sweep.asked
    figures = [asked.metric, *(name for name in _SHOWN if name != asked.metric)]
    made = Table(title=f"{asked.strategy} on {' and '.join(asked.symbols)}: {asked.best.value} {asked.metric} first")
    for heading in ("#", *(("tested on",) if asked.walk_forward else ()), *asked.swept, *figures):
        made.add_column(heading, justify="right")
    for place, row in enumerate(rows, 1):
        days = (f"{row.first} to {row.last}",) if asked.walk_forward else ()
        told = (f"{row.parameters[name]:g}" if name in row.parameters else "" for name in asked.swept)
        values = (value_of(row, name) for name in figures)
        shown = ("" if value is None else f"{value:.4g}" for value in values)
        made.add_row(str(place), *days, *told, *((row.error, *[""] * (len(figures) - 1)) if row.error else shown))
    return made


def _draw(found: Standing, path: Path) -> None:
    from adapters.backtesting.drawing import heat_map_page

    path.write_text(heat_map_page(found.heat_map, found.state.sweep))
    _out.print(f"heat map: {path}", highlight=False, soft_wrap=True)
