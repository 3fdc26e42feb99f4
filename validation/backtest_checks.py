"""`python -m validation.backtest_checks`: the checks of backtests by their names, in a pod beside the service.

The last line is one JSON object: the report of each check, and what it saw, small enough to be drawn elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Any

import typer

from adapters.backtesting.curves import Drawn, drawn
from adapters.backtesting.http_jobs import HttpJobs
from adapters.backtesting.jobs import JobRefused, Jobs, JobsError
from contracts import names
from contracts.backtest_moving import BacktestMoving
from contracts.backtests import BacktestAsked, Result
from contracts.stages import BACKENDS, Component, Side
from validation.backtesting import asked_of_both, compare_backtesting_engines, validate_backtest_results
from validation.load.verifying import exit_code, to_json
from validation.result import Check, Report

OLD, NEW = (BACKENDS[Component.BACKTESTING][side] for side in (Side.OLD, Side.NEW))
REFUSED = 2


class Named(StrEnum):
    """What can be asked for."""

    COMPARE = "compare_backtesting_engines"
    VALIDATE = "validate_backtest_results"


def compared(
    jobs: Jobs, moving: BacktestMoving, note: Callable[[str], None], seconds: float
) -> tuple[Report, list[Drawn]]:
    """The shipped suite and the newest runs, by both engines. Raises JobsUnavailable."""
    missing = {OLD, NEW} - jobs.offer().engines
    if missing:
        why = f"{' and '.join(sorted(missing))} is not deployed at this stage: nothing can be compared"
        fix = "pulumi config set --path crossover:backtesting.stage shadow, and pulumi up"
        check = Check.unknown("both engines", expected="deployed", why=why, fix=fix)
        return Report(subject=f"backtesting: {OLD} and {NEW}", checks=(check,)), []
    asked, tolerance = asked_of_both(jobs, moving.gate.jobs), moving.gate.tolerance
    found: dict[int, Drawn] = {}

    def seen(one: BacktestAsked, results: Sequence[Result]) -> None:
        with suppress(ValueError):  # without bars there is nothing to draw
            found[asked.index(one)] = drawn(results, tolerance)

    report = compare_backtesting_engines(
        jobs, (OLD, NEW), asked, seconds=seconds, tolerance=tolerance, note=note, seen=seen
    )
    return report, [found[number] for number in sorted(found)]


def validated(jobs: Jobs, limit: int) -> tuple[Report, list[Drawn]]:
    """Whether the newest results go together, each by itself. Raises JobsUnavailable."""
    checks: list[Check] = []
    seen: list[Drawn] = []
    for job in jobs.finished(limit):
        try:
            result = jobs.result(job.id)
        except JobRefused as error:
            checks.append(Check.unknown(job.id, expected="a result", why=str(error)))
            continue
        failures = validate_backtest_results(result).failures()
        checks.append(
            Check.that(
                f"{job.id} by {job.engine}", not failures, expected="equity, orders and figures that go together",
                found="they do" if not failures else "; ".join(f"{one.name}: {one.found}" for one in failures),
                fix="Keep its folder under RESULTS_PATH, and report it",
            )
        )  # fmt: skip
        seen.append(drawn([result]))
    if not checks:
        checks.append(Check.unknown("results", expected="at least one", why="no run is done yet"))
    figures = {"results": float(len(seen))}
    return Report(subject="backtesting: results", checks=tuple(checks), figures=figures), seen


def told(reports: Mapping[str, Report], seen: Sequence[Drawn]) -> dict[str, Any]:
    """What the last line says."""
    return {**json.loads(to_json(reports)), "drawn": [one.model_dump(mode="json") for one in seen]}


def main(
    checks: Annotated[list[Named] | None, typer.Argument(help="All where none is named.")] = None,
    seconds: Annotated[float, typer.Option(help="How long all runs of a comparison may take.", min=1)] = 1800.0,
    results: Annotated[int, typer.Option(help="How many of the newest results are checked.", min=1)] = 50,
) -> None:
    """Exit status 0 where all hold, 1 where one does not, 3 where one could not be made, 2 where nothing could be
    asked."""
    url = os.environ.get(names.ENV_BACKTESTING_URL)
    if not url:
        raise typer.BadParameter(f"{names.ENV_BACKTESTING_URL} is not set: there is nobody to ask")
    moving = BacktestMoving.parse(os.environ.get(names.ENV_BACKTESTING_MOVING) or "{}")
    jobs, reports, seen = HttpJobs(url), {}, []
    try:
        for name in checks or list(Named):
            if name is Named.COMPARE:
                reports[name.value], more = compared(jobs, moving, lambda line: print(line, flush=True), seconds)
            else:
                reports[name.value], more = validated(jobs, results)
            seen += more
    except JobsError as error:
        print(f"the service could not be asked: {error}", flush=True)
        raise typer.Exit(REFUSED) from None
    print(json.dumps(told(reports, seen)), flush=True)
    raise typer.Exit(exit_code(reports))


if __name__ == "__main__":
    typer.run(main)
