"""The service hurt: its volume fills up, it is killed in the middle of runs, its clock is in another time zone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from adapters.backtesting.http_jobs import HttpJobs
from adapters.backtesting.jobs import JobsUnavailable
from contracts.backtests import BacktestAsked
from tests.contract.backtest_service import backtest_service
from tests.contract.mortal_database import fill_up
from tests.contract.test_backtest_jobs import done

pytestmark = pytest.mark.contract

ASKED = BacktestAsked(strategy="sma_cross", symbol="SP500")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB: a few results fill it."""
    folder = tmp_path / "volume"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("this user may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_volume_fails_runs_with_its_reason_and_takes_them_again_once_there_is_room(
    volume: Path, tmp_path: Path
) -> None:
    filler = volume / "half"
    with backtest_service(tmp_path, volume) as running:
        jobs = HttpJobs(running.address)
        filler.write_bytes(b"0" * (3600 << 10))  # there is room for a run's record, and none for its result
        failed = done(jobs, jobs.submit(ASKED))
        assert failed.state == "failed" and "No space left on device" in failed.error, failed
        assert "storage" in failed.error
        rest = fill_up(volume)
        with pytest.raises(JobsUnavailable, match="Nothing was queued"):
            jobs.submit(ASKED.model_copy(update={"initial_cash": 2e6}))
        for path in (filler, rest):
            path.unlink()
        again = done(jobs, jobs.submit(ASKED))
        assert (again.id, again.state) == (failed.id, "done")
        assert jobs.result(again.id).bars == 5031


def test_killed_amid_runs_it_ends_each_of_them_once_when_it_is_back(tmp_path: Path) -> None:
    asked = [ASKED.model_copy(update={"initial_cash": 1e6 + number}) for number in range(6)]
    with backtest_service(tmp_path) as running:
        jobs = HttpJobs(running.address)
        submitted = [jobs.submit(one).id for one in asked]
        done(jobs, jobs.job(submitted[0]))
        running.process.kill()
    with backtest_service(tmp_path) as running:
        jobs = HttpJobs(running.address)
        assert [jobs.submit(one).id for one in asked] == submitted  # asked for again, they are the same runs
        ended = [done(jobs, jobs.job(run_id)) for run_id in submitted]
        assert {job.state for job in ended} == {"done"}, ended
        assert len(jobs.finished(100)) == len(asked)
        assert [jobs.result(job.id).figures.trades > 50 for job in ended] == [True] * 6


def test_a_clock_in_another_time_zone_changes_no_result(tmp_path: Path) -> None:
    found = []
    for zone in ("America/New_York", "Asia/Tokyo"):
        folder = tmp_path / zone.replace("/", "-")
        folder.mkdir()
        with backtest_service(folder, TZ=zone) as running:
            jobs = HttpJobs(running.address)
            asked = ASKED.model_copy(update={"start": date(2015, 3, 6), "end": date(2018, 11, 5)})
            job = done(jobs, jobs.submit(asked))
            found.append((job.id, jobs.result(job.id).model_dump_json()))
    assert found[0] == found[1]
