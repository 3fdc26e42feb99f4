"""Sweeps of strategies of the user's own: by pods of the cluster and on a laptop, confined, by the file's content."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.backtesting import open_engine
from adapters.backtesting.jobs import JobRefused
from adapters.backtesting.strategies.own import KNOWN, load
from adapters.backtesting.sweeps import confined
from adapters.backtesting.sweeps.folders import SweepFolder
from adapters.backtesting.sweeps.histories import csv_histories
from adapters.backtesting.sweeps.http_sweeps import HttpSweeps
from adapters.backtesting.sweeps.running import run_piece, workshop
from adapters.csv_bars import SHIPPED
from contracts import names
from contracts.sweeps import EXIT_REFUSED, Row, Sweep, SweepAsked
from services.backtesting_service import sweeping
from tests.contract.backtest_service import ROOT, backtest_service
from tests.contract.test_sweeps import rows_in

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]

_OWN = Path(__file__).parent / "own_strategies" / "momentum.py"
_SPY = (
    _OWN.read_text().replace("class Momentum", "class Spy")
    + """
    def __post_init__(self):
        import os, socket, subprocess, sys
        from pathlib import Path

        if self.period == 9:
            sys.exit(3)
        if self.period == 10:
            os._exit(3)
        told = []
        for what in (
            lambda: socket.create_connection(("127.0.0.1", int(os.environ.get("PORT", 9)))),
            lambda: Path("SECRET").read_text(),
            lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
            lambda: Path(__file__).write_text("other"),
            lambda: os.kill(os.getppid(), 0),
        ):
            try:
                what()
                told.append("done")
            except Exception as error:
                told.append(type(error).__name__)
        raise RuntimeError(" ".join([*told, *(name for name in os.environ if "TOKEN" in name)]))
"""
)
ASKED = {"strategy": "momentum", "symbol": "SP500", "start": "2018-01-01", "engine": "memory", "cells_per_index": 2}
GRID = {"period": [0, 5, 20]}
REFUSED = " ".join(["PermissionError"] * 5)


def asked(**change: Any) -> SweepAsked:
    return SweepAsked.model_validate({**ASKED, "grid": GRID, **change})


def unconfined(sweep: Sweep) -> list[Row]:
    """What it comes to, run here: the shipped example does no harm."""
    KNOWN.put("momentum", load(_OWN))
    try:
        shop = workshop(sweep, csv_histories(SHIPPED), lambda: open_engine("memory"))
        return [row for index in range(sweep.indexes) for row in run_piece(shop, index, shop.engine())]
    finally:
        KNOWN._loaded.clear()  # nothing else takes one back


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made, secret = tmp_path / "strategies", tmp_path / "token"
    made.mkdir()
    secret.write_text("secret")
    shutil.copy(_OWN, made)
    (made / "spy.py").write_text(_SPY.replace("SECRET", str(secret)))
    return made


@pytest.fixture
def service(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpSweeps]:
    """With the folder; this process is a pod of it."""
    with backtest_service(tmp_path, STRATEGIES_PATH=str(folder)) as running:
        monkeypatch.setenv(names.ENV_BACKTESTING_URL, running.address)
        monkeypatch.setenv(names.ENV_STRATEGIES_PATH, str(folder))
        monkeypatch.setenv("A_TOKEN", "secret")
        yield HttpSweeps(running.address)


def pod(sweep: Sweep, index: int) -> int:
    return sweeping.main(["run", "--sweep", sweep.id, "--index", str(index)])


def rows(http: HttpSweeps, sweep: Sweep) -> list[Row]:
    return rows_in(http.parts(sweep.id), sweep)


def test_pods_run_it_confined_and_put_what_it_comes_to(service: HttpSweeps, tmp_path: Path, folder: Path) -> None:
    sweep = service.register(asked()).sweep
    assert (sweep.cells, sweep.skipped, len(sweep.source_sha256 or "")) == (3, 0, 64)
    assert (tmp_path / "sweeps" / sweep.id / "strategy.py").read_bytes() == _OWN.read_bytes()
    assert [pod(sweep, index) for index in (0, 1, 1)] == [0, 0, 0]
    found = rows(service, sweep)
    assert found == unconfined(sweep)
    assert "period=0: it counts bars. Give at least 1" in found[0].error and found[1].figures is not None

    spied = service.register(asked(strategy="spy", grid={"period": [1, 9]})).sweep
    assert pod(spied, 0) == 0
    assert [row.error for row in rows(service, spied)] == [f"RuntimeError: {REFUSED}", "SystemExit: 3"]
    died = service.register(asked(strategy="spy", grid={"period": [10]})).sweep
    assert pod(died, 0) == 1  # to be tried again: want of memory may have ended it
    assert service.state(died.id).done == []
    walk = {"grid": {"period": [5, 20]}, "train_bars": 80, "test_bars": 60}
    walked = service.register(asked(grid=None, walk_forward=walk)).sweep
    assert [pod(walked, index) for index in range(walked.indexes)] == [0] * walked.indexes
    assert rows(service, walked) == unconfined(walked)
    assert not [path for path in folder.iterdir() if path.suffix != ".py"]


def test_a_pod_with_another_file_or_none_refuses(
    service: HttpSweeps, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = service.register(asked()).sweep
    file = folder / "momentum.py"
    file.write_text(file.read_text() + "\n")
    assert pod(sweep, 0) == EXIT_REFUSED
    said = capsys.readouterr().out
    assert "is another file" in said and "results would be mixed. Restart the service" in said
    with pytest.raises(JobRefused, match=r"momentum\.py was changed since the service began: restart it"):
        service.register(asked(fees=0.0))
    file.unlink()
    assert pod(sweep, 0) == EXIT_REFUSED
    assert "cannot be read: No such file" in capsys.readouterr().out
    monkeypatch.delenv(names.ENV_STRATEGIES_PATH)
    assert pod(sweep, 0) == EXIT_REFUSED
    assert "no folder of them is here (STRATEGIES_PATH is not set)" in capsys.readouterr().out
    assert service.state(sweep.id).done == []
    with pytest.raises(JobRefused, match=r"'magic': there is no such strategy.* put magic\.py into your folder"):
        service.register(asked(strategy="magic"))


def test_where_nobody_can_be_confined_nothing_of_it_is_run(
    service: HttpSweeps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = service.register(asked()).sweep
    cannot = (
        "from services.backtesting_service import piecing\n"
        "def refused(read): raise piecing.CannotConfine(38, 'Landlock: Function not implemented')\n"
        "piecing.confine_worker = refused\n"
        "piecing.load = None\n"
        "piecing.main()"
    )
    monkeypatch.setattr(confined, "COMMAND", (sys.executable, "-c", cannot))
    assert pod(sweep, 0) == EXIT_REFUSED
    assert "is not run where it cannot be confined: Landlock: Function not implemented" in capsys.readouterr().out
    assert service.state(sweep.id).done == []


def command(spec: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "cli", "sweep", "run", str(spec), "--folder", str(out), *more]


def run(spec: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "150"}
    return subprocess.run(
        command(spec, out, *more), cwd=ROOT, env=env, text=True, capture_output=True, timeout=120, check=False
    )


def test_a_laptop_does_the_same(tmp_path: Path, folder: Path) -> None:
    spec, out, own = tmp_path / "sweep.json", tmp_path / "out", ("--strategies", str(folder), "--processes", "2")
    spec.write_text(asked().model_dump_json(exclude_defaults=True))
    done = run(spec, out, *own)
    assert done.returncode == 0 and "3 of 3 cells are run, 1 of them failed" in done.stdout, done.stdout + done.stderr
    kept = SweepFolder(out)
    sweep = kept.sweep()
    assert sweep is not None and rows_in(kept.parts, sweep) == unconfined(sweep)
    (folder / "momentum.py").write_text(_OWN.read_text() + "\n")
    other = run(spec, out, *own)
    assert other.returncode == 2 and "Take another folder" in other.stderr
    spec.write_text(asked(strategy="spy", grid={"period": [1]}).model_dump_json(exclude_defaults=True))
    assert f"RuntimeError: {REFUSED}" in " ".join(run(spec, tmp_path / "spied", *own).stdout.split())
    none = run(spec, tmp_path / "none")
    assert none.returncode == 2 and "'spy': there is no such strategy" in none.stderr
    assert "is no folder" in run(spec, tmp_path / "none", "--strategies", str(spec)).stderr


@contextmanager
def ended_in_any_case(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_ctrl_c_and_a_kill_end_what_never_would(tmp_path: Path, folder: Path) -> None:
    spec, out = tmp_path / "sweep.json", tmp_path / "out"
    endless = "    def __post_init__(self) -> None:\n        while self.period == 5:\n            pass\n"
    (folder / "momentum.py").write_text(_OWN.read_text().replace("    def __post_init__(self) -> None:\n", endless))
    spec.write_text(json.dumps({**ASKED, "grid": {"period": [20, 5]}, "cells_per_index": 1}))
    for how, status in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        shutil.rmtree(out, ignore_errors=True)
        process = subprocess.Popen(
            command(spec, out, "--strategies", str(folder), "--processes", "1"), cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        with ended_in_any_case(process):
            deadline = time.monotonic() + 120  # VectorBT compiles, beside other tests
            while not SweepFolder(out).parts.done():
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.01)
            children = Path(f"/proc/{process.pid}/task").glob("*/children")
            pids = [int(pid) for path in children for pid in path.read_text().split()]
            assert pids
            os.killpg(process.pid, how)
            process.communicate(timeout=30)
            assert process.returncode == status
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            assert time.monotonic() < deadline, "it outlives who began it"
            time.sleep(0.01)
        assert SweepFolder(out).parts.done() == {0}
