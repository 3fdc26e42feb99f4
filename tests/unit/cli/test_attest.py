"""`crossover attest`: what is seen of the live stack stands in config, and stale or foreign verdicts do not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.routes.base import BackupNotes, RouteUnavailable
from adapters.routes.memory import MemoryBackupNotes, MemoryRouteStore
from cli import attest
from cli.__main__ import app
from cli.stack import Stack
from components.evidence_settings import EvidenceSettings
from contracts.backups import BackupNote
from contracts.routes import HistoryEntry, Route
from contracts.stages import Component, Stage
from validation.result import Verdict
from validation.verdicts import KeptVerdict

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ENDED = "2026-05-01T10:00:00Z"
NOTE = BackupNote(at=NOW, side="hosted", by="ann", digest="a" * 64, place="desk", tables=3, rows=9)


def route(after: str) -> Route:
    kept = KeptVerdict(outcome=Verdict.HOLDS, at=NOW, active="kafka", after=after)
    ended = HistoryEntry(at=ENDED, to_stage=Stage.SCALE, epoch=3, outcome="holds")
    return Route(
        component=Component.EVENT_BUS, stage=Stage.SCALE, active="kafka", epoch=3, verdict=kept.to_json(),
        history=(ended,),
    )  # fmt: skip


def by_component(seen: dict[str, str]) -> dict[str, Any]:
    """The object that pulumi makes of paths."""
    made: dict[str, Any] = {}
    for path, value in seen.items():
        at = made
        *parents, last = path.split(".")
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return made


def test_what_is_seen_is_what_the_program_takes() -> None:
    seen = attest.gathered(MemoryRouteStore(route(ENDED)), MemoryBackupNotes(NOTE), NOW)
    settings = EvidenceSettings.model_validate(by_component(seen))
    assert settings.of(Component.EVENT_BUS) == {
        "at": "2026-05-01T12:00:00+00:00", "backup_at": "2026-05-01T12:00:00+00:00", "stage": "scale",
        "verdict": "holds", "verdict_at": "2026-05-01T12:00:00+00:00",
    }  # fmt: skip
    assert {
        one: settings.components[one].stage for one in Component if one is not Component.EVENT_BUS
    } == dict.fromkeys((Component.LLM_SERVICE, Component.DATABASE, Component.BACKTESTING), "absent")


def test_a_comparison_from_before_the_last_transition_is_no_evidence_of_what_stands_now() -> None:
    seen = attest.gathered(MemoryRouteStore(route("2026-05-01T09:00:00Z")), MemoryBackupNotes(), NOW)
    assert by_component(seen)["components"]["event_bus"] == {"stage": "scale"}
    assert "backup_at" not in seen


class Away(BackupNotes):
    """Cannot be asked."""

    def read(self) -> BackupNote | None:
        raise RouteUnavailable("the API server does not answer", status=0, said="")

    def write(self, note: BackupNote) -> None:
        raise NotImplementedError


def test_what_cannot_be_asked_writes_nothing() -> None:
    with pytest.raises(RouteUnavailable):
        attest.gathered(MemoryRouteStore(create=False), Away(), NOW)


def test_the_command_replaces_what_config_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cli.attest.connect", lambda _: None)
    monkeypatch.setattr("cli.attest.KubernetesRouteStore", lambda *_: MemoryRouteStore(create=False))
    monkeypatch.setattr("cli.attest.KubernetesBackupNotes", lambda *_: MemoryBackupNotes(NOTE))
    asked: list[tuple[str, ...]] = []

    def read(self: Stack, *arguments: str) -> str:
        asked.append(arguments)
        return json.dumps({"crossover:evidence": {"objectValue": {"at": "long ago"}}})

    monkeypatch.setattr(Stack, "_read", read)
    result = CliRunner().invoke(app, ["attest", "--stack", "prod", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["components.database.stage"] == "absent"
    assert asked[1] == ("config", "rm", "crossover:evidence")
    assert asked[2][:3] == ("config", "set-all", "--path")
    assert "crossover:evidence.backup_at=2026-05-01T12:00:00Z" in asked[2]
