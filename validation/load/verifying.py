"""Judges a run: whole, and window by window; and looks single events up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from validation.event_bus import Proof, Rules, read_run
from validation.ledger import Window
from validation.ledger_file import UnreadableLedger, consume_path, is_closed, publish_path, read_ledger
from validation.load.meeting import until
from validation.result import Report, Verdict, combine

WHOLE = "whole run"
EXIT_HOLDS, EXIT_DOES_NOT_HOLD, EXIT_COULD_NOT_CHECK = 0, 1, 3
_EXITS = {
    Verdict.HOLDS: EXIT_HOLDS,
    Verdict.DOES_NOT_HOLD: EXIT_DOES_NOT_HOLD,
    Verdict.COULD_NOT_CHECK: EXIT_COULD_NOT_CHECK,
}
_OUTCOMES = {0: "acknowledged", 1: "outcome unknown", 2: "refused"}


class BadWindow(ValueError):
    """A window that cannot be read: which, and how to write it."""


def parse_window(text: str) -> tuple[str, Window]:
    """`name=start:end`, both in ns since 1970 UTC. Raises BadWindow."""
    name, _, span = text.partition("=")
    start, _, end = span.partition(":")
    if not name or not start.isdigit() or not end.isdigit():
        raise BadWindow(f"window {text!r} cannot be read: write NAME=START:END, in ns since 1970 UTC")
    try:
        return name, Window(int(start), int(end))
    except ValueError as error:
        raise BadWindow(f"window {name!r}: {error}") from error


def await_ledgers(folder: Path, groups: Sequence[str], seconds: float) -> tuple[str, ...]:
    """Wait until every ledger of the run is complete; the names of those that are not after `seconds`."""
    paths = [publish_path(folder), *(consume_path(folder, group) for group in groups)]

    def open_still() -> tuple[str, ...]:
        return tuple(path.name for path in paths if is_closed(path) is None)

    until(lambda: not open_still(), seconds)
    return open_still()


def verify(folder: Path, groups: Sequence[str], rules: Rules, windows: Mapping[str, Window]) -> dict[str, Report]:
    """The reports by name: the whole run, then each window."""
    proof = Proof(read_run(folder, groups), rules)
    return {WHOLE: proof.judge(WHOLE), **{name: proof.judge(name, window) for name, window in windows.items()}}


def verdict_of(reports: Mapping[str, Report]) -> Verdict:
    """One verdict of all reports."""
    return combine(report.overall() for report in reports.values())


def exit_code(reports: Mapping[str, Report]) -> int:
    """0 holds, 1 does not, 3 could not be checked."""
    return _EXITS[verdict_of(reports)]


def to_json(reports: Mapping[str, Report]) -> str:
    """All reports as one line of JSON."""
    bodies = {name: json.loads(report.to_json()) for name, report in reports.items()}
    return json.dumps({"version": 1, "overall": verdict_of(reports).value, "reports": bodies})


def from_json(text: str) -> dict[str, Report]:
    """What to_json wrote. Raises UnreadableReport or ValueError where it is not that."""
    body = json.loads(text)
    if not isinstance(body, dict) or body.get("version") != 1 or not isinstance(body.get("reports"), dict):
        raise ValueError(f"not the reports of a run: {text[:200]!r}")
    reports = {name: Report.from_json(json.dumps(report)) for name, report in body["reports"].items()}
    if verdict_of(reports).value != body.get("overall"):
        raise ValueError(f"the reports say {verdict_of(reports).value}, their summary says {body.get('overall')!r}")
    return reports


def show(folder: Path, groups: Sequence[str], event_id: str) -> Iterator[str]:
    """A line for each thing that the ledgers know of an event."""
    wanted = UUID(event_id).bytes.rstrip(b"\0")  # as numpy gives them back
    for role, path in [("publish", publish_path(folder)), *(("consume", consume_path(folder, g)) for g in groups)]:
        try:
            file = read_ledger(path, role)
        except UnreadableLedger as error:
            yield f"{path.name}: {error}"
            continue
        found = file.records[file.records["id"] == wanted]
        for record in found:
            place = f"{record['key'].decode()} {record['sequence']}, sha256 {record['sha256'].hex()[:16]}"
            if role == "publish":
                outcome = _OUTCOMES[int(record["outcome"])]
                backend = record["backend"].decode() or "no backend"
                yield f"{path.name}: {place}, {outcome} by {backend}, epoch {record['epoch']}, at {record['acked']}"
            else:
                yield f"{path.name}: {place}, delivered at {record['time']}"
        if not len(found):
            yield f"{path.name}: nothing"


def known_groups(folder: Path) -> tuple[str, ...]:
    """The groups that have a ledger in `folder`."""
    return tuple(sorted(path.stem.removeprefix("consume-") for path in folder.glob("consume-*.ledger")))
