"""`python -m validation.backtest_load`: ask for backtests under way of a switch, and judge what became of them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from adapters.backtesting.http_jobs import HttpJobs
from contracts.names import ENV_BACKTESTING_URL
from validation.backtest_load.account import Book, read
from validation.backtest_load.judging import WHOLE, judge, judge_window
from validation.backtest_load.load import Load, Schedule
from validation.load.__main__ import say, stop_signal
from validation.load.meeting import stop_path
from validation.load.telling import ended, tell, windows_of
from validation.result import Report

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Option(help="The folder in which the load is written down.")]


@app.callback()
def setup() -> None:
    """Backtests as a load, and the proof of what became of each."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")


@app.command()
def run(
    *,
    folder: Folder,
    run: Annotated[str, typer.Option(help="The mark of this load; it tells its runs from others'.")],
    rate: Annotated[float, typer.Option(help="Runs a second.", min=0.01)] = 0.5,
    seconds: Annotated[float, typer.Option(help="At most so long.", min=1)] = 1800.0,
) -> None:
    """Ask on a fixed schedule until --seconds, SIGTERM, or `stop`; what was asked for then is followed to its end."""
    url = os.environ.get(ENV_BACKTESTING_URL)
    if not url:
        raise typer.BadParameter(f"{ENV_BACKTESTING_URL} is not set: there is nobody to ask")
    stopped = stop_signal()
    book = Book(_path(folder))
    say(f"asking for {rate:g} runs a second")
    load = Load(HttpJobs(url), run, Schedule(rate=rate, seconds=seconds), book, say)
    fates = load.run(lambda: stopped.is_set() or stop_path(folder).exists())
    book.close()  # only here: a load that was cut off must not say that it ended
    say(f"ended: {dict(fates)}")


@app.command()
def stop(folder: Folder) -> None:
    """End the load in --folder; runs under way are followed to their end."""
    stop_path(folder).touch()


@app.command()
def verify(
    *,
    folder: Folder,
    window: Annotated[list[str] | None, typer.Option(help="NAME=START:END in ns since 1970 UTC.")] = None,
    min_rate: Annotated[float, typer.Option(help="Runs a second that must have been asked for.", min=0)] = 0.1,
    wait: Annotated[float, typer.Option(help="How long what is under way may take to end, in seconds.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON, for machines.")] = False,
) -> None:
    """Judge a load: exit status 0 where it holds, 1 where it does not, 3 where it could not be checked."""
    windows, account = windows_of(window), ended(_path(folder), read, wait)
    reports: dict[str, Report] = {WHOLE: judge(account, min_rate)}
    reports |= {name: judge_window(name, account, span, min_rate) for name, span in windows.items()}
    tell(reports, as_json=as_json)


def _path(folder: Path) -> Path:
    return folder / "backtests.jsonl"


if __name__ == "__main__":
    app()
