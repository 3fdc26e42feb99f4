"""`python -m validation.load`: publish and consume under a ledger, and judge what it says."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from adapters.database import open_store
from adapters.event_bus.factory import open_bus
from contracts.names import ENV_DATABASE_URL, MARKET_DATA
from validation.event_bus import Rules
from validation.load import marks, verifying
from validation.load.consuming import Consuming
from validation.load.effects import judge_effects
from validation.load.meeting import stop_path
from validation.load.publishing import Publishing, Schedule
from validation.load.telling import windows_of
from validation.result import Report

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Folder = Annotated[Path, typer.Option(help="The folder that publisher, consumers and verifier share.")]
Run = Annotated[str, typer.Option(help="The mark of this run; letters, digits and '-'.")]
Groups = Annotated[list[str] | None, typer.Option("--group", help="A consumer group; give it once for each.")]
Topic = Annotated[str, typer.Option(help="The topic.")]

GROUPS = ("ledger-1", "ledger-2", "ledger-3")
EXIT_NOT_READY, EXIT_FAILED = 4, 1


def say(line: str) -> None:
    """One line for people, at once."""
    typer.echo(line, err=True)


def stop_signal() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stopped = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopped.set())
    return stopped


@app.callback()
def setup() -> None:
    """The load generator of the event bus, and the ledger that proves what became of its events."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")


@app.command()
def publish(
    *,
    folder: Folder,
    run: Run,
    rate: Annotated[float, typer.Option(help="Events per second, over all keys.", min=1)] = 1000.0,
    seconds: Annotated[float, typer.Option(help="At most so long.", min=1)] = 1800.0,
    keys: Annotated[int, typer.Option(min=1, max=1000)] = marks.KEYS,
    topic: Topic = MARKET_DATA,
    group: Groups = None,
    wait: Annotated[float, typer.Option(help="How long consumers may take to be ready, in seconds.")] = 180.0,
) -> None:
    """Publish bars on a fixed schedule, once every consumer is ready, and write each one down.

    Ends at --seconds, at SIGTERM, or when `stop` was called. A publish that raised is counted and
    changes nothing about the exit status: `verify` judges.
    """
    stopped = stop_signal()
    folder.mkdir(parents=True, exist_ok=True)
    bus = open_bus("publish")
    try:
        work = Publishing(bus, folder, Schedule(run=run, rate=rate, seconds=seconds, keys=keys, topic=topic), say)
        missing = work.await_consumers(group or GROUPS, wait)
        if missing:
            say(f"no consumer of {', '.join(missing)} was ready within {wait:g} s: nothing was published. See its logs")
            raise typer.Exit(EXIT_NOT_READY)
        say(f"all consumers are ready: publishing {rate:g} events/s over {keys} keys")
        errors = work.run(stopped.is_set)
        say(f"ended; errors seen: {dict(errors) or 'none'}")
    finally:
        bus.close()


@app.command()
def consume(
    folder: Folder,
    run: Run,
    group: Annotated[str, typer.Option(help="The consumer group.")],
    keys: Annotated[int, typer.Option(min=1, max=1000)] = marks.KEYS,
    topic: Topic = MARKET_DATA,
) -> None:
    """Consume as one member of a group, and write each delivery down, until all of the run was seen."""
    stopped = stop_signal()
    folder.mkdir(parents=True, exist_ok=True)
    bus = open_bus(group)
    try:
        ended = Consuming(bus, folder, run=run, group=group, keys=keys, topic=topic).run(stopped.is_set, say)
    finally:
        bus.close()
    if ended == "failed":
        raise typer.Exit(EXIT_FAILED)


@app.command()
def stop(folder: Folder) -> None:
    """End the publisher of the run in --folder; the consumers end once they have seen everything."""
    stop_path(folder).touch()


@app.command()
def keep() -> None:
    """Do nothing until SIGTERM: keeps a container up, from which the run is judged."""
    stop_signal().wait()


@app.command()
def verify(
    *,
    folder: Folder,
    group: Groups = None,
    window: Annotated[list[str] | None, typer.Option(help="NAME=START:END in ns since 1970 UTC.")] = None,
    min_rate: Annotated[float, typer.Option(help="Load that must have been offered, in events/s.", min=0)] = 1000.0,
    wait: Annotated[float, typer.Option(help="How long ledgers may take to be complete, in seconds.")] = 0.0,
    effects_of: Annotated[
        str | None,
        typer.Option(help=f"A consumer group whose effects in {ENV_DATABASE_URL} are judged too."),
    ] = None,
    max_stall_ms: Annotated[float | None, typer.Option(help="Longest stall that is still good.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON, for machines.")] = False,
) -> None:
    """Judge a run: exit status 0 where it holds, 1 where it does not, 3 where it could not be checked."""
    groups = tuple(group or GROUPS)
    windows = windows_of(window)
    incomplete = verifying.await_ledgers(folder, groups, wait)
    if incomplete:
        say(f"not complete: {', '.join(incomplete)}")
    rules = Rules(min_rate=min_rate, max_stall_ms=max_stall_ms)
    reports = verifying.verify(folder, groups, rules, windows)
    if effects_of:
        reports[effects_of] = _effects(folder, effects_of, wait)
    if as_json:
        typer.echo(verifying.to_json(reports))
    else:
        from rich.console import Console

        for report in reports.values():
            Console().print(report.table())
    raise typer.Exit(verifying.exit_code(reports))


def _effects(folder: Path, group: str, wait: float) -> Report:
    url = os.environ.get(ENV_DATABASE_URL)
    if not url:
        raise typer.BadParameter(f"--effects-of {group} needs {ENV_DATABASE_URL}: the effects could not be judged")
    store = open_store(url, application="verify", max_connections=1)
    try:
        return judge_effects(folder, store, group, wait)
    finally:
        store.close()


@app.command()
def show(folder: Folder, event_id: Annotated[list[str], typer.Argument(help="Event ids.")]) -> None:
    """What each ledger knows of single events."""
    for identifier in event_id:
        say(identifier)
        for line in verifying.show(folder, verifying.known_groups(folder), identifier):
            typer.echo(f"  {line}")


if __name__ == "__main__":
    app()
