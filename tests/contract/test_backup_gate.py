"""The database moves on with a fresh backup only: what is noted is asked for by the cutover's own preflight."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from adapters.routes.base import BackupNotes, RouteUnavailable
from adapters.routes.memory import MemoryBackupNotes
from contracts.backups import BackupNote
from contracts.stages import Component, Stage
from cutover.database.work import DatabaseWork, Moving
from cutover.plan import path
from tests.contract.database_world import DatabaseWorld, database_servers, database_world
from tests.contract.two_postgres import OWN_ROLE
from validation.result import Check, Verdict

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def world() -> Iterator[DatabaseWorld]:
    with database_servers() as (hosted, own), database_world(hosted, own) as made:
        made.reach(Stage.MVP)
        yield made


def _noted(**changes: object) -> MemoryBackupNotes:
    note = BackupNote(
        at=datetime.now(UTC) - timedelta(hours=2), side="hosted", by="me", digest="0" * 64, place="x", tables=1, rows=0
    )
    return MemoryBackupNotes(note.model_copy(update=changes))


class Away(BackupNotes):
    """Cannot be asked."""

    def read(self) -> BackupNote | None:
        raise RouteUnavailable("no answer")

    def write(self, note: BackupNote) -> None:
        raise RouteUnavailable("no answer")


def _check(world: DatabaseWorld, notes: BackupNotes, hours: float = 24.0) -> Check:
    context = world.context()
    context.backups = notes
    context.read()
    work = DatabaseWork(context, world.servers, Moving(role=OWN_ROLE, backup_hours=hours))
    try:
        (found,) = (
            check
            for check in work.examine(path(Stage.MVP, Stage.SHADOW, Component.DATABASE)[0])
            if check.name == "hosted: backup"
        )
    finally:
        work.close()
    return found


@pytest.mark.parametrize(
    ("notes", "hours", "outcome"),
    [
        (MemoryBackupNotes(), 24.0, Verdict.DOES_NOT_HOLD),
        (_noted(), 24.0, Verdict.HOLDS),
        (_noted(), 1.0, Verdict.DOES_NOT_HOLD),
        (_noted(side="selfhosted"), 24.0, Verdict.DOES_NOT_HOLD),
        (_noted(at=datetime.now(UTC) + timedelta(hours=1)), 24.0, Verdict.DOES_NOT_HOLD),
        (Away(), 24.0, Verdict.COULD_NOT_CHECK),
    ],
    ids=["none", "fresh", "stale", "of the other side", "of the future", "not known"],
)
def test_what_is_noted_decides(world: DatabaseWorld, notes: BackupNotes, hours: float, outcome: Verdict) -> None:
    assert _check(world, notes, hours).outcome is outcome


def test_a_move_is_refused_before_anything_is_touched(world: DatabaseWorld) -> None:
    found = world.migrate(Stage.SHADOW, moving=Moving(role=OWN_ROLE))
    assert not found.reached
    assert "hosted: backup" in found.message and "crossover backup" in found.message
    assert world.route.stage is Stage.MVP and world.route.mirror is None
