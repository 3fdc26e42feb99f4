"""The service on a volume that fills up: no run is lost, callers are told why, and it goes on once there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.backtesting.http_jobs import HttpJobs
from adapters.backtesting.jobs import JobsUnavailable
from contracts.backtests import BacktestAsked
from tests.contract.mortal_database import fill_up
from tests.contract.test_backtest_jobs import done, running_service

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
    with running_service(volume / "runs", tmp_path / "log") as address:
        jobs = HttpJobs(address)
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
