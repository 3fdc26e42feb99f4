"""What the commands that judge a load share: the windows that are asked for, its end, and how reports are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

import typer

from validation.ledger import Window
from validation.load import verifying
from validation.load.meeting import until
from validation.result import Report


class Written(Protocol):
    """What was written down of a load."""

    @property
    def closed(self) -> bool:
        """Whether it ended in order."""


def windows_of(texts: Sequence[str] | None) -> dict[str, Window]:
    """By name, from NAME=START:END. Raises typer.BadParameter."""
    try:
        return dict(verifying.parse_window(text) for text in texts or [])
    except verifying.BadWindow as error:
        raise typer.BadParameter(str(error)) from error


def ended[T: Written](path: Path, read: Callable[[Path], T], wait: float) -> T:
    """What stands in `path`, once the load has ended, or as it is after `wait` seconds. Raises typer.BadParameter where
    there is nothing."""
    if not path.exists():
        raise typer.BadParameter(f"there is no {path}: no load was written down here, and nothing can be judged")
    until(lambda: read(path).closed, wait)
    return read(path)


def tell(reports: Mapping[str, Report], *, as_json: bool) -> NoReturn:
    """Print the reports, or their verdicts, and end the command as they say."""
    if as_json:
        typer.echo(verifying.to_json(reports))
    else:
        typer.echo(json.dumps({name: report.overall().value for name, report in reports.items()}))
    raise typer.Exit(verifying.exit_code(reports))
