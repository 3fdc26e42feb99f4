"""`crossover dead-letters`: what consumers set aside, shown and published again.

The work is done by `python -m services.dead_letters` in a pod beside the data, as a client of the event bus: from
here neither backend can be reached, and a replay must obey the fence of a switch as any publisher does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from adapters.routes.jobs import KubernetesJobs
from adapters.routes.kubernetes import connect
from cli.options import Context, Json, Namespace
from cli.pod_reports import report_of
from cli.pod_reports import show as show_report
from contracts import names

JOB_NAME = "dead-letters"
COMMAND = ("python", "-m", "services.dead_letters")

app = typer.Typer(no_args_is_help=True, help="What consumers set aside: shown, and published again.")
_Topic = Annotated[str, typer.Argument(help="The topic that events were set aside from.")]
_Group = Annotated[str, typer.Option("--group", help="Only what this consumer group set aside.")]


@app.command("list")
def show(
    topic: _Topic,
    group: _Group = "",
    as_json: Json = False,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Show each dead letter of TOPIC: cause, attempts, and how often it was replayed."""
    _run(["list", topic, *_grouped(group)], as_json, context, namespace)


@app.command()
def replay(
    topic: _Topic,
    group: _Group = "",
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="A letter, or the event in it; give it once for each.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what was replayed before.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Show what would be replayed; publish nothing.")] = False,
    as_json: Json = False,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Publish the events in TOPIC's dead letters again, with their own ids, each for the group that set it aside."""
    flags = ["--again"] * again + ["--preview"] * preview
    chosen = [part for one in ids or () for part in ("--id", one)]
    _run(["replay", topic, *_grouped(group), *chosen, *flags], as_json, context, namespace)


def _grouped(group: str) -> list[str]:
    return ["--group", group] if group else []


def _run(arguments: Sequence[str], as_json: bool, context: str | None, namespace: str) -> None:
    code, output = KubernetesJobs(connect(context), namespace).run_as_client(JOB_NAME, [*COMMAND, *arguments])
    show_report(code, report_of(output, f"kubectl describe job -l app={JOB_NAME}"), lines, as_json=as_json)


def lines(report: dict[str, Any]) -> list[str]:
    """A report for people."""
    topic, found = report["topic"], report.get("letters", [])
    told = [_line(letter) for letter in found]
    told += [f"passed over {one['id']}: {one['why']}" for one in report.get("passed_over", [])]
    told += [f"failed {name}: {why}" for name, why in report.get("failed", {}).items()]
    if report["error"]:
        return [*told, f"error: {report['error']}"]
    if "replayed" in report:
        return [*told, f"{len(report['replayed'])} of {len(found)} events of {topic} were replayed"]
    if "passed_over" in report:
        return [*told, f"{len(found)} events of {topic} would be replayed"]
    waiting = [letter for letter in found if not letter["replays"]]
    told.append(f"{len(found)} dead letters of {topic}, {len(waiting)} of them never replayed")
    if waiting:
        told.append(f"  to publish them again: crossover dead-letters replay {topic}")
    return told


def _line(letter: dict[str, Any]) -> str:
    replays = f", replayed {letter['replays']} times" if letter["replays"] else ""
    event = f"event {letter['event_id']} of key {letter['key']}" if letter["event_id"] else "no readable event"
    return (
        f"{letter['id']}  {letter['at']}  {letter['group']}: {event}, {letter['attempts']} attempts{replays}\n"
        f"    {letter['cause']}"
    )
