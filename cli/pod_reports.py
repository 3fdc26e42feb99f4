"""What a pod beside the data reported, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import typer
from rich.console import Console

from cli.errors import CliError
from contracts import names

_out = Console()


def report_of(output: str, fix: str) -> dict[str, Any]:
    """The report in a pod's output: its last line that is a JSON object. Raises CliError where there is none."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                found: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            return found
    raise CliError(f"the pod gave no report: {output[-2000:] or 'it wrote nothing'}", fix)


def answer_of(code: int, output: str) -> dict[str, Any]:
    """What the backtesting service said, from a pod's output. Raises CliError where it refused."""
    report = report_of(output, f"kubectl get deployment {names.BACKTESTING_NAME}")
    if code or "error" in report:
        raise CliError(f"the backtesting service refused: {report.get('error', output[-2000:])}", "")
    return report


def show(code: int, report: dict[str, Any], lines: Callable[[dict[str, Any]], Sequence[str]], *, as_json: bool) -> None:
    """Print `report`, and end as the pod did: with `code`."""
    if as_json:
        print(json.dumps(report))
    else:
        for line in lines(report):
            _out.print(line, highlight=False, markup=False, soft_wrap=True)
    if code:
        raise typer.Exit(code)
