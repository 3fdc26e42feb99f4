"""`crossover validate backtesting CHECK...`: the named checks, in a pod beside the service, and their page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from adapters.backtesting.curves import Drawn
from adapters.backtesting.drawing import page
from adapters.routes.jobs import KubernetesJobs
from adapters.routes.kubernetes import connect
from cli.errors import CliError
from cli.pod_reports import report_of
from contracts.stages import Component
from validation.backtest_checks import Named
from validation.load.verifying import from_json

_FIX = "kubectl logs deployment/backtesting-service; crossover doctor"
_out = Console()


def named(checks: list[str]) -> list[Named]:
    """The checks of these names; all where there are none. Raises CliError."""
    known = [one.value for one in Named]
    unknown = [name for name in checks if name not in known]
    if unknown:
        raise CliError(f"there is no check {', '.join(unknown)} of backtesting", f"use {' or '.join(known)}")
    return [Named(name) for name in checks] or list(Named)


def run(checks: list[str], report: Path | None, context: str | None, namespace: str, seconds: float) -> int:
    """Run them, tell what they found, and write their page where one is wanted; the exit status of the pod."""
    wanted = named(checks)
    if report is not None and not report.parent.is_dir():
        raise CliError(
            f"there is no folder {report.parent}: the page could not be written", f"mkdir -p {report.parent}"
        )
    command = ["python", "-m", "validation.backtest_checks", *(one.value for one in wanted)]
    jobs = KubernetesJobs(connect(context), namespace)
    code, output = jobs.run_beside(Component.BACKTESTING, "backtesting-checks", command, seconds)
    told = report_of(output, _FIX)
    for name, found in from_json(json.dumps(told)).items():
        _out.print(f"{name}:", highlight=False)
        _out.print(found.table())
    if report is not None:
        write(report, told)
        _out.print(f"drawn: {report}", highlight=False)
    return code


def write(path: Path, told: dict[str, Any]) -> None:
    """The page of what a pod told, whole or not at all."""
    lines = [f"{name}: {body['overall'].replace('_', ' ')}" for name, body in told["reports"].items()]
    made = page("Backtests", lines, [Drawn.model_validate(one) for one in told["drawn"]])
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(made, encoding="utf-8")
    aside.replace(path)
