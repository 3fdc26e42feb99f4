"""`python -m validation.probes`: ask services at a fixed pace, and judge whether they always answered."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from contracts.names import ENV_PROBES
from validation.load.__main__ import say, stop_signal
from validation.load.meeting import stop_path
from validation.load.telling import ended, tell, windows_of
from validation.probes.account import Book, read
from validation.probes.asking import BadTarget, Target, targets_of
from validation.probes.judging import WHOLE, Limits, judge, judge_window, measured, within
from validation.probes.prober import Prober, Schedule

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Option(help="The folder in which the run is written down.")]
Windows = Annotated[list[str] | None, typer.Option("--window", help="NAME=START:END in ns since 1970 UTC.")]


@app.callback()
def setup() -> None:
    """Whether each service answers at every moment."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")


@app.command()
def run(
    *,
    folder: Folder,
    target: Annotated[
        list[str] | None, typer.Option(help=f"NAME=http[s]://host[:port]/path; else {ENV_PROBES}, by spaces.")
    ] = None,
    run: Annotated[str, typer.Option(help="The mark of this run, for its log.")] = "probes",
    rate: Annotated[float, typer.Option(help="Probes a second of each service.", min=0.01, max=1000)] = 20.0,
    seconds: Annotated[float, typer.Option(help="At most so long.", min=1)] = 3600.0,
    timeout: Annotated[float, typer.Option(help="How long a probe waits, in seconds.", min=0.1, max=60)] = 10.0,
) -> None:
    """Ask on a fixed schedule until --seconds, SIGTERM, or `stop`; what is under way then is waited for."""
    stopped, targets = stop_signal(), _targets(target)
    book = Book(_path(folder))
    names = ", ".join(one.service for one in targets)
    say(f"{run}: {names} are each asked {rate:g} times a second")
    prober = Prober(targets, Schedule(rate=rate, seconds=seconds, timeout=timeout), book, say)
    failed = prober.run(lambda: stopped.is_set() or stop_path(folder).exists())
    book.close()  # only here: a run that was cut off must not say that it ended
    say(f"ended: {sum(failed.values())} failed")


@app.command()
def stop(folder: Folder) -> None:
    """End the run in --folder; what is under way is waited for."""
    stop_path(folder).touch()


@app.command()
def verify(
    *,
    folder: Folder,
    window: Windows = None,
    service: Annotated[list[str] | None, typer.Option(help="That must have been asked; else all that were.")] = None,
    min_rate: Annotated[float, typer.Option(help="Probes a second of each that must have been made.", min=0)] = 10.0,
    max_failed: Annotated[int, typer.Option(help="Of each service.", min=0)] = 0,
    max_stall_ms: Annotated[float | None, typer.Option(help="The longest wait for an answer.")] = None,
    wait: Annotated[float, typer.Option(help="How long what is under way may take to end, in seconds.")] = 60.0,
    running: Annotated[bool, typer.Option("--running", help="It goes on: judge what there is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON, for machines.")] = False,
) -> None:
    """Judge a run: exit status 0 where it holds, 1 where it does not, 3 where it could not be checked."""
    windows, account = windows_of(window), ended(_path(folder), read, 0.0 if running else wait)
    if running:
        account = replace(account, closed=True)
    limits = Limits(max_failed=max_failed, max_stall_ms=max_stall_ms, min_rate=min_rate)
    wanted = tuple(service or ())
    reports = {WHOLE: judge(account, wanted, limits)}
    reports |= {name: judge_window(name, account, span, wanted, limits) for name, span in windows.items()}
    tell(reports, as_json=as_json)


@app.command()
def show(*, folder: Folder, window: Windows = None) -> None:
    """What was measured, as JSON: by window and service, with each outage's time and reasons."""
    account = ended(_path(folder), read, 0.0)
    parts = {WHOLE: account.probes} | {name: within(account.probes, span) for name, span in windows_of(window).items()}
    told = {
        name: {service: found.document() for service, found in measured(probes).items()}
        for name, probes in parts.items()
    }
    typer.echo(json.dumps(told, indent=2))


def _path(folder: Path) -> Path:
    return folder / "probes.jsonl"


def _targets(given: list[str] | None) -> tuple[Target, ...]:
    try:
        return targets_of(given or os.environ.get(ENV_PROBES, "").split())
    except BadTarget as error:
        raise typer.BadParameter(str(error)) from error


if __name__ == "__main__":
    app()
