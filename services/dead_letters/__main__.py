"""`python -m services.dead_letters list|replay TOPIC`: what `crossover dead-letters` runs in a pod.

Prints one line of JSON. Exit status: 0 done, or nothing to do; 1 something could not be read or published;
2 refused, nothing was published.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from adapters.event_bus import EventBusError
from adapters.event_bus.dead_letters import DeadLetter
from adapters.event_bus.errors import UnknownTopic
from adapters.event_bus.factory import BadEnvironment, open_bus
from adapters.routes.base import RouteError
from services.dead_letters import desk

FAILED, REFUSED = 1, 2

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
_Topic = Annotated[str, typer.Argument(help="The topic that they were set aside from.")]
_Group = Annotated[str, typer.Option(help="Only what this consumer group set aside.")]


@app.callback()
def setup() -> None:
    """Dead letters of the event bus."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s %(message)s")


@app.command("list")
def show(topic: _Topic, group: _Group = "") -> None:
    """Tell every letter of TOPIC that is retained."""
    with _told(topic) as report, _bus() as bus:
        report["letters"] = [told(one) for one in desk.find(bus, topic, group)]


@app.command()
def replay(
    topic: _Topic,
    group: _Group = "",
    id: Annotated[list[str] | None, typer.Option(help="A letter, or the event in it; give it once for each.")] = None,
    again: Annotated[bool, typer.Option(help="Also what was replayed before.")] = False,
    preview: Annotated[bool, typer.Option(help="Tell what would be replayed; publish nothing.")] = False,
) -> None:
    """Publish the events of TOPIC's letters again, each for the group that set it aside."""
    with _told(topic) as report, _bus() as bus:
        choice = desk.choose(desk.find(bus, topic, group), id or (), again=again)
        report["passed_over"] = [{"id": one.id, "why": why} for one, why in choice.passed_over]
        if choice.unknown:
            report["error"] = f"no dead letter of {topic} has the id {', '.join(choice.unknown)}: nothing was replayed"
            raise typer.Exit(REFUSED)
        report["letters"] = [told(one) for one in choice.replay]
        if preview:
            return
        outcome = desk.replay(bus, choice.replay)
        report |= {"replayed": outcome.done, "failed": outcome.failed}
        if outcome.failed:
            raise typer.Exit(FAILED)


def told(one: DeadLetter) -> dict[str, Any]:
    """A letter without its payload, which may be large, and is nobody's but its reader's."""
    return {
        "id": one.id,
        "at": one.at,
        "group": one.group,
        "cause": one.cause,
        "attempts": one.attempts,
        "event_id": one.event.id if one.event else None,
        "key": one.event.key if one.event else None,
        "type": one.event.type if one.event else None,
        "bytes": one.bytes,
        "replays": one.replays,
    }


@contextmanager
def _bus() -> Iterator[desk.Bus]:
    bus = open_bus("dead-letters")
    try:
        yield bus
    finally:
        bus.close()


@contextmanager
def _told(topic: str) -> Iterator[dict[str, Any]]:
    """The report, printed at the end whatever happens."""
    report: dict[str, Any] = {"topic": topic, "error": ""}
    try:
        yield report
    except (UnknownTopic, BadEnvironment) as error:
        report["error"] = str(error)
        raise typer.Exit(REFUSED) from error
    except (EventBusError, RouteError) as error:
        report["error"] = str(error)
        raise typer.Exit(FAILED) from error
    finally:
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    app()
