"""A backup made on real servers: of a hosted project under load, as its unprivileged role; what is wrong is found."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.postgres import dumping, programs
from adapters.postgres.driver import Address, connect
from adapters.postgres.errors import PostgresError
from tests.contract.hosted_postgres import Project, project
from tests.contract.moved_databases import TYPES
from tests.contract.own_image import IMAGE, run_script
from tests.contract.two_postgres import Pair, run
from validation.backup.making import CONTENT, DUMP, ROLES, Content, await_scratch, compared, make, measure
from validation.result import Report, Verdict

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def planted() -> Iterator[Project]:
    with project() as made:
        yield made


@pytest.fixture(scope="module")
def throw_away() -> Iterator[Address]:
    """The server into which backups are restored, as its image starts it."""
    with tempfile.TemporaryDirectory(prefix="crossover-scratch-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        script = (IMAGE / "scratch").read_text().replace("/scratch", name)
        with run_script(script, folder):
            at = Address(name, 5432, "postgres", "postgres")
            await_scratch(at, 60)
            yield at


@pytest.fixture
def pair(planted: Project) -> Pair:
    made = planted.new()
    with connect(made.hosted, "test") as connection:
        run(connection, *TYPES)
        # What was there before a change of state, so that dead rows and a sequence in use are among it.
        run(connection, "update kinds.every set t = t || '!' where id > 100", "select nextval('kinds.every_id_seq')")
    return made


@pytest.fixture
def scratch(throw_away: Address) -> Iterator[Address]:
    yield throw_away
    with connect(throw_away, "test") as connection:
        run(connection, "drop database if exists restored")


def _said(report: Report) -> str:
    return "\n".join(f"{check.name}: {check.found} {check.detail}" for check in report.checks)


def _make(pair: Pair, scratch: Address, folder: Path) -> Report:
    return make("hosted", pair.hosted, scratch, folder, lambda _: None)


def test_a_whole_project_is_dumped_by_its_unprivileged_role_and_restores(
    pair: Pair, scratch: Address, tmp_path: Path
) -> None:
    report = _make(pair, scratch, tmp_path)
    assert report.overall() is Verdict.HOLDS, _said(report)
    content = Content.model_validate_json((tmp_path / CONTENT).read_text())
    assert content.tables["kinds.every"].rows == 202
    assert {name.partition(".")[0] for name in content.tables} >= {"kinds", "public", "auth", "storage"}
    assert "crossover" not in "".join(content.tables)
    assert content.rows == report.figures["rows"] > 300
    assert "CREATE ROLE" in (tmp_path / ROLES).read_text()
    assert "PASSWORD" not in (tmp_path / ROLES).read_text()


def test_it_is_of_one_moment_although_others_write(pair: Pair, scratch: Address, tmp_path: Path) -> None:
    stop = threading.Event()
    counted = threading.Event()

    def write() -> None:
        with connect(pair.hosted, "test") as connection:
            while not stop.is_set():
                run(connection, "insert into kinds.every (mid) values (1)", "delete from kinds.plain where id < 3")
                counted.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert counted.wait(30)
        report = _make(pair, scratch, tmp_path)
    finally:
        stop.set()
        writer.join(30)
    assert report.overall() is Verdict.HOLDS, _said(report)


def _spoilt(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]) -> None:
    """Something happens to the file between the dump and its restore."""
    real = dumping.restore

    def restore(path: Path, *rest: object, **named: object) -> None:
        spoil(path)
        real(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(dumping, "restore", restore)


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [_cut, _flip])
def test_a_damaged_dump_is_found(
    pair: Pair, scratch: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    _spoilt(monkeypatch, spoil)
    report = _make(pair, scratch, tmp_path)
    assert report.overall() is Verdict.DOES_NOT_HOLD, _said(report)
    assert not (tmp_path / CONTENT).exists() or any(check.name == "rows" for check in report.failures())


def test_a_dump_of_other_rows_is_found(
    pair: Pair, scratch: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that restores well, and is not what the snapshot held: one character in one row."""

    def other(path: Path) -> None:
        with connect(pair.hosted, "test") as connection:
            run(connection, "update kinds.plain set t = t || 'x' where id = 150")
        command = ["pg_dump", "--format=custom", "--exclude-schema=crossover", f"--file={path}", "--no-publications"]
        programs.run(command, pair.hosted, 60)

    _spoilt(monkeypatch, other)
    report = _make(pair, scratch, tmp_path)
    (wrong,) = report.failures()
    assert wrong.name == "rows"
    assert "kinds.plain: 202 rows of checksum" in wrong.detail


def test_a_sequence_that_came_back_behind_is_found(pair: Pair, scratch: Address, tmp_path: Path) -> None:
    assert _make(pair, scratch, tmp_path).overall() is Verdict.HOLDS
    content = Content.model_validate_json((tmp_path / CONTENT).read_text())
    known = dict(content.sequences)
    known["kinds.every_id_seq"] -= 1
    wrong = [check for check in compared(content, content.tables, (known, 0)) if not check.outcome.passed]
    assert [check.name for check in wrong] == ["sequences"]
    assert "kinds.every_id_seq" in wrong[0].found


def test_what_may_not_be_read_is_left_out_and_told(
    planted: Project, pair: Pair, scratch: Address, tmp_path: Path
) -> None:
    with connect(pair.hosted_admin, "test") as admin:
        run(admin, "revoke pg_read_all_data from hosted", "create schema shut", "create table shut.away (id int)")
        try:
            report = _make(pair, scratch, tmp_path)
        finally:
            run(admin, "grant pg_read_all_data to hosted with admin option")
    assert report.overall() is Verdict.HOLDS, _said(report)
    content = Content.model_validate_json((tmp_path / CONTENT).read_text())
    assert "shut" in content.left_out
    assert "kinds.every" in content.tables
    assert any("shut" in check.found for check in report.checks)


def test_without_a_snapshot_there_is_no_backup(scratch: Address, tmp_path: Path) -> None:
    nowhere = Address("127.0.0.1", 1, "trading", "hosted")
    with pytest.raises(PostgresError):
        make("hosted", nowhere, scratch, tmp_path, lambda _: None)
    assert not (tmp_path / DUMP).exists()


def test_a_role_that_sees_some_rows_only_makes_no_backup(pair: Pair, scratch: Address, tmp_path: Path) -> None:
    with connect(pair.hosted_admin, "test") as admin:
        run(admin, "alter role hosted nobypassrls")
        try:
            with pytest.raises(PostgresError, match="row-level security"):
                _make(pair, scratch, tmp_path)
        finally:
            run(admin, "alter role hosted bypassrls")


def test_measures_tell_one_byte(pair: Pair) -> None:
    with connect(pair.hosted, "test") as connection:
        before = measure(connection, ["kinds"])
        run(connection, "update kinds.plain set raw = '\\x00' where id = 7")
        after = measure(connection, ["kinds"])
    assert {name for name in before if before[name] != after[name]} == {"kinds.plain"}
