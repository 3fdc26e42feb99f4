"""The judge: reads what a run left behind, and never takes silence for proof."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.validation.runs import START, STEP, Run
from validation.event_bus import Proof, Rules, passed, read_run
from validation.ledger import Window
from validation.ledger_file import UNKNOWN, LedgerWriter, UnreadableLedger, consume_path, publish_path, read_ledger
from validation.result import Report, Verdict

GROUPS = ("a", "b", "c")


def judged(folder: Path, rules: Rules | None = None, window: Window | None = None) -> Report:
    return Proof(read_run(folder, GROUPS), rules or Rules()).judge("event_bus", window)


def named(report: Report) -> dict[str, Verdict]:
    """The checks that do not hold, by name."""
    return {check.name: check.outcome for check in report.failures()}


def test_a_clean_run_holds(tmp_path: Path) -> None:
    report = judged(Run().write(tmp_path))
    assert report.overall() is Verdict.HOLDS
    figures = report.figures
    assert (figures["acknowledged"], figures["delivered"], figures["lost"]) == (80, 240, 0)
    assert (figures["acknowledged_redis"], figures["consume_stall_ms_max"]) == (80, 3.0)
    assert Report.from_json(report.to_json()) == report


def test_a_lost_event_is_red_and_named(tmp_path: Path) -> None:
    run = Run()
    del run.taken["b"][17]
    report = judged(run.write(tmp_path))
    assert report.overall() is Verdict.DOES_NOT_HOLD
    assert named(report) == {"b: lost": Verdict.DOES_NOT_HOLD}
    assert report.figures["lost"] == 1


def test_an_error_seen_by_a_caller_is_red(tmp_path: Path) -> None:
    run = Run()
    run.sent[3].outcome = UNKNOWN
    report = judged(run.write(tmp_path))
    assert named(report) == {"errors seen by callers": Verdict.DOES_NOT_HOLD}
    assert report.figures["caller_errors"] == 1


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def unclose(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -len(b"closing")])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_bytes(b"not a ledger at all, but long enough to have been one\n" * 3)


@pytest.mark.parametrize("spoil", [Path.unlink, truncate, unclose, flip, empty, text])
@pytest.mark.parametrize("path", [publish_path, lambda folder: consume_path(folder, "b")])
def test_a_ledger_that_cannot_be_read_proves_nothing(
    tmp_path: Path, spoil: Callable[[Path], None], path: Callable[[Path], Path]
) -> None:
    spoil(path(Run().write(tmp_path)))
    report = judged(tmp_path)
    assert report.overall() is Verdict.COULD_NOT_CHECK
    assert "lost" not in report.figures


def test_a_writer_that_was_killed_leaves_no_proof(tmp_path: Path) -> None:
    Run().write(tmp_path)
    consume_path(tmp_path, "b").unlink()
    killed = LedgerWriter(consume_path(tmp_path, "b"), "consume", {"run": "r1", "group": "b"})
    killed.append(Run().taken["b"][0].pack())
    killed.abandon()
    with pytest.raises(UnreadableLedger, match="no closing record"):
        read_ledger(consume_path(tmp_path, "b"), "consume")
    assert judged(tmp_path).overall() is Verdict.COULD_NOT_CHECK


def test_a_ledger_is_never_written_over(tmp_path: Path) -> None:
    Run().write(tmp_path)
    with pytest.raises(FileExistsError):
        LedgerWriter(publish_path(tmp_path), "publish", {})


def test_no_events_and_no_groups_could_not_be_checked(tmp_path: Path) -> None:
    assert judged(Run(count=0).write(tmp_path / "empty")).overall() is Verdict.COULD_NOT_CHECK
    folder = Run().write(tmp_path / "run")
    assert Proof(read_run(folder, ()), Rules()).judge("x").overall() is Verdict.COULD_NOT_CHECK


def test_the_file_of_another_run_or_group_proves_nothing(tmp_path: Path) -> None:
    Run().write(tmp_path / "one", run="one")
    Run().write(tmp_path / "two", run="two")
    consume_path(tmp_path / "two", "a").rename(consume_path(tmp_path / "one", "a"))
    report = judged(tmp_path / "one")
    assert named(report) == {"a: ledger": Verdict.COULD_NOT_CHECK}
    consume_path(tmp_path / "one", "b").rename(consume_path(tmp_path / "one", "a"))
    assert "a: ledger" in named(judged(tmp_path / "one"))


def test_one_unreadable_group_does_not_hide_a_failure_of_another(tmp_path: Path) -> None:
    run = Run()
    del run.taken["b"][17]
    truncate(consume_path(run.write(tmp_path), "a"))
    assert judged(tmp_path).overall() is Verdict.DOES_NOT_HOLD


def test_too_little_load_could_not_be_checked(tmp_path: Path) -> None:
    folder = Run().write(tmp_path)  # 1,000 events/s
    assert judged(folder, Rules(min_rate=1000)).overall() is Verdict.HOLDS
    assert named(judged(folder, Rules(min_rate=1100))) == {"load offered": Verdict.COULD_NOT_CHECK}


def test_a_window_without_load_throughout_could_not_be_checked(tmp_path: Path) -> None:
    folder = Run().write(tmp_path)
    inside = Window(START + 10 * STEP, START + 70 * STEP)
    assert judged(folder, window=inside).overall() is Verdict.HOLDS
    beyond = Window(START + 10 * STEP, START + 100 * STEP)
    assert named(judged(folder, window=beyond)) == {"load offered": Verdict.COULD_NOT_CHECK}
    after = Window(START + 200 * STEP, START + 300 * STEP)
    assert judged(folder, window=after).overall() is Verdict.COULD_NOT_CHECK


def test_a_consumer_stopped_from_outside_cannot_show_a_loss(tmp_path: Path) -> None:
    run = Run()
    del run.taken["a"][70:]
    report = judged(run.write(tmp_path, ended="stopped"))
    assert report.overall() is Verdict.COULD_NOT_CHECK
    assert named(report)["a: lost"] is Verdict.COULD_NOT_CHECK


def test_a_consumer_that_waited_in_vain_shows_a_loss(tmp_path: Path) -> None:
    run = Run()
    del run.taken["a"][70:]
    report = judged(run.write(tmp_path, ended="quiet"))
    assert report.overall() is Verdict.DOES_NOT_HOLD


def test_a_stall_over_the_limit_is_red(tmp_path: Path) -> None:
    folder = Run().write(tmp_path)
    assert judged(folder, Rules(max_stall_ms=50)).overall() is Verdict.HOLDS
    assert "publish stall" in named(judged(folder, Rules(max_stall_ms=1)))


def test_reports_pass_only_where_there_are_some(tmp_path: Path) -> None:
    report = judged(Run().write(tmp_path))
    assert passed({"whole": report})
    assert not passed({})
    assert not passed({"whole": report, "x": Report(subject="x", checks=())})
