"""`crossover audit`, and what migrate and rollback tell the audit log of who asked for what."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from adapters.routes.audit import AuditLog, MemoryAudit, MemorySegments, SegmentedLog
from adapters.routes.base import RouteUnavailable
from cli import audit, diagnosing, moving
from cli.__main__ import app
from cli.auditing import Spool, Trail, actor, audit_namespace
from cli.diagnosing import Audited
from cli.errors import CliError
from cli.stack import Stack, Wish
from contracts.audit import Broken, Entry, Kind
from contracts.stages import Component, Stage
from validation.result import Verdict

BUS, DATABASE = Component.EVENT_BUS, Component.DATABASE
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ENDED = {"from": "mvp", "to": "shadow", "epoch": 2, "outcome": "holds", "detail": "", "seconds": 1.5}


class Kept:
    """A log of three entries, and the segments that it lies in."""

    def __init__(self) -> None:
        self.segments = MemorySegments()
        self.log = SegmentedLog(self.segments, clock=lambda: NOW)
        self.log.append(Kind.CONFIG, "event_bus", "ann@desk", {"from": "mvp", "to": "shadow"})
        self.log.append(Kind.ENDED, "event_bus", "Job transition-event-bus-1", ENDED)
        self.log.append(Kind.HELD, "", "[bob]", {"detail": "FREEZE is there: quarter's end"})

    def spoil(self) -> None:
        """Write another name into the second entry."""
        segment = self.segments.read(1)
        assert segment is not None
        self.segments.replace(segment, segment.text.replace("Job transition-event-bus-1", "Job transition-event-bus-9"))

    @property
    def hashes(self) -> list[str]:
        return [entry.hash for entry in self.log.entries()]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    made = Kept()
    monkeypatch.setattr("cli.audit._log", lambda *_: made.log)
    return made


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["audit", *words])
    if isinstance(result.exception, CliError):
        return 2, str(result.exception)
    return result.exit_code, result.output.replace("\n", " ")


def test_entries_are_listed_for_people_and_for_machines(kept: Kept) -> None:
    code, told = run("list")
    assert code == 0
    assert all(word in told for word in ("3 entries", "ann@desk", "[bob]", "FREEZE"))
    result = CliRunner().invoke(app, ["audit", "list", "--json"])
    assert [json.loads(line) for line in result.output.splitlines()] == [
        entry.model_dump() for entry in kept.log.entries()
    ]


def test_entries_are_chosen_by_component_and_time(kept: Kept) -> None:
    entries = kept.log.entries()
    assert [entry.seq for entry in audit.chosen(entries, BUS, None)] == [1, 2, 3]  # a freeze is of all components
    assert [entry.seq for entry in audit.chosen(entries, DATABASE, None)] == [3]
    assert audit.chosen(entries, None, NOW) == list(entries)
    assert not audit.chosen(entries, None, NOW + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("", None),
        ("7d", NOW - timedelta(days=7)),
        ("12h", NOW - timedelta(hours=12)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2026-04-30", datetime(2026, 4, 30, tzinfo=UTC)),
        ("2026-04-30T12:00+02:00", datetime(2026, 4, 30, 10, tzinfo=UTC)),
        ("2026-04-30T12:00Z", datetime(2026, 4, 30, 12, tzinfo=UTC)),
    ],
)
def test_since_is_a_time_or_a_span(text: str, when: datetime | None) -> None:
    assert audit.since_when(text, NOW) == when


def test_since_that_is_no_time_is_refused(kept: Kept) -> None:
    assert run("list", "--since", "yesterday")[0] == 2


def test_an_entry_is_told_on_one_line() -> None:
    assert audit.brief(ENDED) == "mvp -> shadow, holds, epoch 2, 1.5 s"
    told = {"from": None, "to": "mvp", "told_later": True, "detail": "one\ntwo"}
    assert audit.brief(told) == "nothing -> mvp, told later, one"


def test_a_log_that_is_whole_is_told_so_and_one_that_is_not_names_the_entry(kept: Kept) -> None:
    code, told = run("verify")
    assert (code, kept.hashes[-1] in told) == (0, True)
    kept.spoil()
    code, told = run("verify")
    assert code == 1
    assert "BROKEN at entry 2 (crossover-audit-000001): its content is another" in told


def test_a_hash_that_was_kept_vouches_for_all_before_it(kept: Kept) -> None:
    code, told = run("verify", "--since-hash", kept.hashes[1])
    assert (code, "entries 1 to 2 are as they were when that hash was kept" in told) == (0, True)
    last = kept.hashes[-1]
    # Made anew as a whole, and whole: only the hash that was kept elsewhere tells.
    again = Kept()
    again.log.append(Kind.HELD, "", "eve", {})
    kept.log, kept.segments = again.log, again.segments
    assert run("verify")[0] == 0
    assert run("verify", "--since-hash", last)[0] == 0  # what was appended leaves all before as it was
    other = MemoryAudit()
    other.append(Kind.HELD, "", "eve", {})
    kept.log = other
    code, told = run("verify", "--since-hash", last)
    assert (code, "the log was cut off, or made anew" in told) == (1, True)


def test_an_export_is_the_log_and_can_be_verified_by_itself(kept: Kept, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    code, told = run("export", str(file))
    assert (code, f"3 entries, last hash {kept.hashes[-1]}" in told) == (0, True)
    assert [Entry.read(line) for line in file.read_text().splitlines()] == list(kept.log.entries())
    assert run("verify", str(file), "--since-hash", kept.hashes[-1])[0] == 0
    file.write_text(file.read_text().replace("ann", "eve"))
    code, told = run("verify", str(file))
    assert (code, "entry 1 (audit.jsonl, line 1)" in told) == (1, True)
    kept.spoil()
    assert run("export", str(file))[0] == 1
    assert len(file.read_text().splitlines()) == 3


def test_an_export_is_checked_without_this_program_as_the_document_says(kept: Kept, tmp_path: Path) -> None:
    document = Path(__file__).parents[3] / "docs" / "audit.md"
    [code] = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    file = tmp_path / "audit.jsonl"
    assert run("export", str(file))[0] == 0

    def checked() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)

    assert checked().stdout == f"3 entries, last hash {kept.hashes[-1]}\n"
    file.write_text(file.read_text().replace("ann", "eve"))
    assert "entry 1 was changed" in checked().stderr


def test_what_is_not_there_is_no_proof(kept: Kept, tmp_path: Path) -> None:
    kept.log = MemoryAudit()
    for words in (["verify"], ["export", str(tmp_path / "x")], ["verify", str(tmp_path / "none")]):
        assert run(*words)[0] == 2


# -- who asked for what


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSOVER_ACTOR", "release-pipeline")
    monkeypatch.setattr("adapters.routes.recording._PAUSE_SECONDS", 0.01)


def test_who_runs_it_is_the_user_or_who_is_named() -> None:
    assert actor({"CROSSOVER_ACTOR": " ann via CI "}) == "ann via CI"
    user, _, host = actor({}).partition("@")
    assert user and host


def test_the_namespace_is_that_of_config(tmp_path: Path) -> None:
    assert audit_namespace(tmp_path, "x") == "crossover-audit"
    (tmp_path / "Pulumi.yaml").write_text("name: crossover\n")
    (tmp_path / "Pulumi.x.yaml").write_text("config: {crossover:namespaces: {audit: ours}}\n")
    assert audit_namespace(tmp_path, "x") == "ours"


def trail(log: AuditLog | None, root: Path) -> Trail:
    def opened() -> AuditLog:
        if log is None:
            raise RouteUnavailable("no Kubernetes access [bold]")
        return log

    return Trail("x", None, root, opened)


def told(log: AuditLog) -> list[tuple[str, str, str, dict[str, Any]]]:
    assert log.verify() is None
    return [
        (one.kind, one.component, one.actor, {k: v for k, v in one.data.items() if k not in ("at", "stack")})
        for one in log.entries()
    ]  # fmt: skip


class Configured(Stack):
    """A stack without Pulumi, whose config is a mapping."""

    def __init__(self, changed: Callable[[Component, Stage, Wish], None]) -> None:
        super().__init__("x", environment={}, changed=changed)
        self.asked: dict[str, Any] = {"event_bus": {"stage": "mvp"}}

    def config(self, file: Path | None = None) -> dict[str, Any]:
        return self.asked

    def _read(self, *arguments: str) -> str:
        return ""


@pytest.mark.usefixtures("named")
def test_each_change_of_config_is_told_with_what_it_was(tmp_path: Path) -> None:
    log = MemoryAudit()
    with trail(log, tmp_path) as left:
        Configured(left.config_changed).ask_for({BUS: Wish(Stage.SCALE), DATABASE: Wish(Stage.SHADOW, emergency=True)})
    assert told(log) == [
        ("config changed", "event_bus", "release-pipeline", {"from": "mvp", "to": "scale"}),
        ("config changed", "database", "release-pipeline", {"from": "mvp", "to": "shadow", "emergency": True}),
    ]
    assert log.entries()[0].data["stack"] == "x"


@pytest.mark.usefixtures("named")
def test_a_freeze_a_closed_window_and_a_reason_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryAudit()
    monkeypatch.setattr("cli.moving.ROOT", tmp_path)
    closed = {"migration": {"window": _closed_window()}}

    def asked(config: Mapping[str, Any], outside: str = "") -> bool:
        with trail(log, tmp_path) as left:
            try:
                moving._await_leave(config, outside, left, BUS)
            except typer.Exit:
                return False
            return True

    assert asked({}) and asked({}, "no window, no reason needed")
    assert not told(log)
    assert not asked(closed)
    assert asked(closed, "the exchange is closed today")
    (tmp_path / "FREEZE").write_text("quarter's end")
    assert not asked(closed, "the exchange is closed today")
    kinds = [(kind, data.get("reason"), "closed until" in data["detail"]) for kind, _, _, data in told(log)]
    assert kinds == [
        ("held back", None, True), ("outside window", "the exchange is closed today", True), ("held back", None, False),
    ]  # fmt: skip
    assert "FREEZE is there: quarter's end" in told(log)[-1][3]["detail"]


def _closed_window() -> str:
    """A window of one hour that is not now."""
    day = (datetime.now(UTC) + timedelta(days=3)).strftime("%a")
    return f"{day} 01:00-02:00"


@pytest.mark.usefixtures("named")
def test_an_answer_to_a_question_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, answers = MemoryAudit(), iter([True, False])
    monkeypatch.setattr("typer.confirm", lambda *_, **__: next(answers))
    with trail(log, tmp_path) as left:
        leave = moving._Leave(True, False, left)
        assert [leave(BUS), leave(DATABASE)] == [None, "not now, by your word"]
    assert [one[:2] for one in told(log)] == [("approved", "event_bus"), ("refused", "database")]


@pytest.mark.usefixtures("named")
def test_a_log_that_is_away_stops_no_command_and_the_next_tells_what_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.routes.recording.Recorder.close.__defaults__", (0.2,))
    with trail(None, tmp_path) as left:
        left.config_changed(BUS, Stage.MVP, Wish(Stage.SCALE))
    said = capsys.readouterr().err.replace("\n", " ")
    assert "AUDIT: the audit log could not be written" in said and "[bold]" in said
    spool = Spool.of(tmp_path, "x")
    with spool.path.open("a") as file:
        file.write('{"kind": "half')  # of one that was killed
        file.write("\n")
    assert [one.kind for one in spool.read()] == ["config changed"]
    with trail(None, tmp_path) as left:
        left.note(Kind.HELD, None, detail="still away")
    assert len(spool.read()) == 2
    assert "2 entries" not in capsys.readouterr().err
    log = MemoryAudit()
    log.append(*_parts(spool))  # one of them had been appended after all
    with trail(log, tmp_path) as left:
        left.note(Kind.APPROVED, BUS)
    assert [one[0] for one in told(log)] == ["config changed", "held back", "approved"]
    assert not spool.read() and capsys.readouterr().err == ""


def _parts(spool: Spool) -> tuple[str, str, str, Mapping[str, Any]]:
    first = spool.read()[0]
    return first.kind, first.component, first.actor, first.data


def test_a_command_that_tells_nothing_asks_for_no_log(tmp_path: Path) -> None:
    with trail(None, tmp_path):
        pass
    assert not (tmp_path / ".crossover").exists()


# -- doctor


@pytest.mark.parametrize(
    ("changes", "outcome", "words"),
    [
        ({}, Verdict.HOLDS, "3 entries"),
        ({"entries": 0}, Verdict.HOLDS, "0 entries"),
        ({"broken": Broken("entry 2 (x)", "it is another")}, Verdict.DOES_NOT_HOLD, "BROKEN at entry 2 (x)"),
        ({"lacking": {BUS: 2, DATABASE: 0}}, Verdict.DOES_NOT_HOLD, "2 of event_bus are lacking"),
        ({"waits": (1, "f.jsonl")}, Verdict.DOES_NOT_HOLD, "1 wait in f.jsonl"),
    ],
)
def test_doctor_tells_what_is_wrong_with_the_log(changes: dict[str, Any], outcome: Verdict, words: str) -> None:
    check = diagnosing.audit(Audited(**{"entries": 3, **changes}))
    assert check.outcome is outcome and words in check.found
    assert bool(check.fix) is not check.outcome.passed
