"""`crossover audit`: what happened, who did it, and whether it still stands as it was written.

Exit status: 0 whole; 1 broken, or another than it was; 2 there is no log, or it could not be asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.durable import replacing
from adapters.routes.audit import AuditLog
from adapters.routes.kubernetes import connect
from adapters.routes.kubernetes_audit import KubernetesAudit
from cli.auditing import audit_namespace
from cli.errors import CliError
from cli.options import AuditNamespace, Context, StackName
from cli.stack import DEFAULT_STACK, ROOT
from contracts.audit import Entry, first_broken, moment
from contracts.stages import Component

FAILED = 1
app = typer.Typer(no_args_is_help=True, help="What happened, who did it, and whether it stands as it was written.")
_out = Console()
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


@app.command("list")
def show(
    component: Annotated[Component | None, typer.Option("--component", help="Of this one only.")] = None,
    since: Annotated[
        str, typer.Option("--since", help="Since then: 2026-05-01, 2026-05-01T12:00Z, 7d, 12h or 30m.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, each an entry, whole.")] = False,
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: AuditNamespace = None,
) -> None:
    """List what happened, oldest first."""
    after = since_when(since, datetime.now(UTC))
    found = chosen(_log(stack, context, namespace).entries(), component, after)
    if as_json:
        for entry in found:
            print(entry.line)
    else:
        _out.print(table(found))


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An export; else the log itself.")] = None,
    since_hash: Annotated[
        str, typer.Option("--since-hash", metavar="HASH", help="A hash that was kept: all up to it is as it was then.")
    ] = "",
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: AuditNamespace = None,
) -> None:
    """See whether each entry follows the one before it. Names the first that does not."""
    lines = _exported(file) if file is not None else _log(stack, context, namespace).lines()
    if not lines:
        raise CliError("the audit log is empty: nothing was verified", "crossover doctor; a first pulumi up begins it")
    if (broken := first_broken(lines)) is not None:
        _out.print(f"BROKEN at {broken}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(FAILED)
    entries = [Entry.read(line) for _, line in lines]
    told = f"{len(entries)} entries are whole, last hash {entries[-1].hash}"
    if since_hash:
        kept = next((entry for entry in entries if entry.hash == since_hash.strip().lower()), None)
        if kept is None:
            told = f"BROKEN: none of {len(entries)} entries has that hash: the log was cut off, or made anew"
        else:
            told += f"; entries 1 to {kept.seq} are as they were when that hash was kept"
    _out.print(told, highlight=False, markup=False, soft_wrap=True)
    if told.startswith("BROKEN"):
        raise typer.Exit(FAILED)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file that gets the log, as JSON lines.")],
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: AuditNamespace = None,
) -> None:
    """Write the whole log into a file, and print its last hash: keep both where nobody of the cluster writes."""
    lines = _log(stack, context, namespace).lines()
    if not lines:
        raise CliError("the audit log is empty: nothing was exported", "crossover doctor; a first pulumi up begins it")
    with replacing(file) as aside:
        aside.write_text("".join(f"{line}\n" for _, line in lines))
    broken = first_broken(lines)
    if broken is not None:
        _out.print(f"exported as it is, BROKEN at {broken}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(FAILED)
    last = Entry.read(lines[-1][1])
    _out.print(f"{last.seq} entries, last hash {last.hash}", highlight=False, markup=False, soft_wrap=True)


def _log(stack: str, context: str | None, namespace: str | None) -> AuditLog:
    return KubernetesAudit(namespace or audit_namespace(ROOT, stack), connect(context))


def _exported(file: Path) -> list[tuple[str, str]]:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file} cannot be read: {error}", "name a file that crossover audit export wrote") from None
    return [(f"{file.name}, line {number}", line) for number, line in enumerate(text.splitlines(), 1)]


def since_when(text: str, now: datetime) -> datetime | None:
    """What --since says; None where it says nothing. Raises CliError."""
    if not text:
        return None
    if (span := re.fullmatch(r"(\d+)([dhm])", text)) is not None:
        return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CliError(f"--since {text!r} is no time", "2026-05-01, 2026-05-01T12:00Z, 7d, 12h or 30m") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def chosen(entries: Sequence[Entry], component: Component | None, since: datetime | None) -> list[Entry]:
    """Those of `component` (and of all components) that were appended since then."""
    after = moment(since) if since is not None else ""
    return [
        entry for entry in entries
        if entry.at >= after and (component is None or entry.component in ("", component.value))
    ]  # fmt: skip


def table(entries: Sequence[Entry]) -> Table:
    """The entries for people."""
    made = Table(title=f"{len(entries)} entries", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for column in ("seq", "when (UTC)", "component", "what", "who", ""):
        made.add_column(column, justify="right" if column == "seq" else "left", no_wrap=column[:4] in ("seq", "when"))
    for entry in entries:
        when = entry.happened[:19].replace("T", " ")
        cells = (str(entry.seq), when, entry.component, entry.kind, entry.actor, brief(entry.data))
        made.add_row(*map(Text, cells))
    return made


def brief(data: dict[str, Any]) -> str:
    """What an entry says, on one line: its way and outcome first, then what else people ask for."""
    way = f"{data['from'] or 'nothing'} -> {data['to']}" if "from" in data and "to" in data else ""
    told = [way, str(data.get("outcome") or "")]
    told += [f"epoch {data['epoch']}"] if "epoch" in data else []
    told += [f"{data['seconds']:g} s"] if isinstance(data.get("seconds"), int | float) else []
    told += [name.replace("_", " ") for name in ("emergency", "back", "told_later") if data.get(name)]
    spoken = ("asked", "item", "note", "reason", "detail")
    told += [str(data[name]).partition("\n")[0] for name in spoken if data.get(name)]
    return ", ".join(part for part in told if part)


__all__ = ["app", "brief", "chosen", "since_when", "table"]
