"""`python -m validation.bank`: transfer under load, and judge what became of it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from adapters.postgres.driver import Address, connect
from adapters.postgres.transfers import balances, transfers
from adapters.postgres.transfers import prepare as make_tables
from contracts.names import ENV_DATABASE_URL
from validation.bank.account import Book, read
from validation.bank.judging import Found, judge, judge_window
from validation.bank.load import ACCOUNTS, APPLICATION, Load, Schedule
from validation.load.__main__ import say, stop_signal
from validation.load.meeting import stop_path
from validation.load.telling import tell, windows_of
from validation.result import Report

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Option(help="The folder in which the run is written down.")]
Run = Annotated[str, typer.Option(help="The mark of this run.")]


@app.callback()
def setup() -> None:
    """A bank under load, and the proof of what became of its transfers."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")


@app.command()
def run(
    *,
    folder: Folder,
    run: Run,
    rate: Annotated[float, typer.Option(help="Transfers per second over all clients.", min=1)] = 500.0,
    seconds: Annotated[float, typer.Option(help="At most so long.", min=1)] = 1800.0,
    clients: Annotated[int, typer.Option(min=1, max=64)] = 8,
) -> None:
    """Transfer on a fixed schedule until --seconds, SIGTERM, or `stop`."""
    stopped = stop_signal()
    book = Book(folder / "bank.jsonl")
    load = Load(_address(), run, Schedule(rate, seconds, clients), book, say)
    load.prepare()
    say(f"transferring {rate:g} a second from {clients} clients")
    try:
        fates = load.run(lambda: stopped.is_set() or stop_path(folder).exists())
    finally:
        book.close()
    say(f"ended: {dict(fates)}")


@app.command()
def prepare() -> None:
    """Make schema, tables and accounts where they are missing."""
    with connect(_address(), APPLICATION, session={}) as connection:
        make_tables(connection, ACCOUNTS)


@app.command()
def stop(folder: Folder) -> None:
    """End the load of the run in --folder."""
    stop_path(folder).touch()


@app.command()
def verify(
    *,
    folder: Folder,
    run: Run,
    window: Annotated[list[str] | None, typer.Option(help="NAME=START:END in ns since 1970 UTC.")] = None,
    min_rate: Annotated[float, typer.Option(min=0)] = 1.0,
    max_stall_ms: Annotated[float | None, typer.Option(help="Longest stall that is still good.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON, for machines.")] = False,
) -> None:
    """Judge a run: exit status 0 where it holds, 1 where it does not, 3 where it could not be checked."""
    noted = list(read(folder / "bank.jsonl"))
    with connect(_address(), APPLICATION, session={}) as connection:
        found = Found.read(transfers(connection, run), balances(connection))
    reports: dict[str, Report] = {"bank": judge(noted, found, min_rate=min_rate, max_stall_ms=max_stall_ms)}
    for name, span in windows_of(window).items():
        reports[name] = judge_window(name, noted, found, span, min_rate=min_rate, max_stall_ms=max_stall_ms)
    tell(reports, as_json=as_json)


def _address() -> Address:
    url = os.environ.get(ENV_DATABASE_URL)
    if not url:
        raise typer.BadParameter(f"{ENV_DATABASE_URL} is not set: there is no database to transfer in")
    return Address.parse(url)


if __name__ == "__main__":
    app()
