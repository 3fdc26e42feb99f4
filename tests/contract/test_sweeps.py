"""Sweeps: where their pieces are kept, what the service makes of them, and what is left when one is killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, override

import pyarrow.parquet
import pytest
import requests

from adapters.backtesting import open_engine
from adapters.backtesting.http_jobs import HttpJobs
from adapters.backtesting.jobs import JobRefused, JobsUnavailable
from adapters.backtesting.sweeps import running, tables
from adapters.backtesting.sweeps.cells import sweep_of
from adapters.backtesting.sweeps.folders import FolderParts, SweepFolder
from adapters.backtesting.sweeps.histories import csv_histories, legs_of
from adapters.backtesting.sweeps.http_sweeps import HttpSweeps
from adapters.backtesting.sweeps.parts import MemoryParts, Parts
from adapters.backtesting.sweeps.running import Workshop, do_piece, run_piece, workshop
from adapters.backtesting.sweeps.standing import standing_of
from adapters.csv_bars import SHIPPED
from contracts import names
from contracts.sweeps import EXIT_REFUSED, Phase, Row, Sweep, SweepAsked
from services.backtesting_service import sweeping
from services.backtesting_service.routing import fixed
from services.backtesting_service.sweeps import Sweeps, UnknownSweep
from tests.contract.backtest_service import ROOT, backtest_service
from tests.contract.postgres_server import free_port

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]

BASE = {"strategy": "sma_cross", "symbol": "SP500", "start": "2018-01-01", "engine": "memory"}
GRID = {"fast": [5, 10], "slow": [10, 20]}
HISTORIES = csv_histories(SHIPPED)


def asked(**change: Any) -> SweepAsked:
    return SweepAsked.model_validate({**BASE, "grid": GRID, "cells_per_index": 2, **change})


def sweep(request: SweepAsked) -> Sweep:
    legs = legs_of(request, HISTORIES)
    return sweep_of(request, "memory", legs.sha256, len(legs.bars[0]))


def made(request: SweepAsked) -> Workshop:
    return workshop(sweep(request), HISTORIES, lambda: open_engine("memory"))


@cache
def undisturbed(request_json: str) -> list[Row]:
    """All rows of a sweep, run here one piece after the other."""
    shop = made(SweepAsked.model_validate_json(request_json))
    return [row for index in range(shop.sweep.indexes) for row in run_piece(shop, index, shop.engine())]


def rows(request: SweepAsked) -> list[Row]:
    return undisturbed(request.model_dump_json())


def rows_in(parts: Parts, of: Sweep) -> list[Row]:
    return [row for index in sorted(parts.done()) for row in tables.read(parts.read(index), of)]


def piece(request: SweepAsked, index: int) -> bytes:
    shop = made(request)
    return tables.written(run_piece(shop, index, shop.engine()), shop.sweep, "2")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with backtest_service(tmp_path_factory.mktemp("sweeps")) as running:
        yield running.address


@pytest.fixture(params=["memory", "folder", "http"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Parts, SweepAsked]:
    """Where the pieces of a sweep are kept of which none is done yet, and the sweep."""
    if request.param != "http":
        return MemoryParts() if request.param == "memory" else FolderParts(tmp_path / "parts"), asked()
    http = HttpSweeps(request.getfixturevalue("service"))
    own = asked(initial_cash=1e6 + len(request.node.name))  # no other test's
    return http.parts(http.register(own).sweep.id), own


# -- the pieces


def test_a_piece_is_kept_once_and_read_as_it_was(kept: tuple[Parts, SweepAsked]) -> None:
    parts, request = kept
    assert parts.done() == frozenset()
    second, first = piece(request, 1), piece(request, 0)
    parts.put(1, second)
    assert parts.has(1) and not parts.has(0)
    parts.put(0, first)
    parts.put(1, first)  # what another pod would bring: it is there
    assert parts.done() == {0, 1}
    assert [parts.read(index) for index in (0, 1)] == [first, second]
    with pytest.raises(JobRefused):
        parts.read(2)


def test_a_piece_that_is_there_is_not_run_again(kept: tuple[Parts, SweepAsked]) -> None:
    parts, request = kept
    shop = made(request)
    assert [do_piece(shop, index, parts) for index in (1, 0, 1)] == [True, True, False]
    found = rows_in(parts, shop.sweep)
    assert found == rows(request)
    assert [row.number for row in found] == [0, 1, 3]  # 10 and 10 would never cross


def test_the_service_takes_the_cells_of_a_piece_and_nothing_else(service: str) -> None:
    http, request = HttpSweeps(service), asked(initial_cash=5e5)
    parts = http.parts(http.register(request).sweep.id)
    for index, content, why in (
        (0, b"nonsense", "it is no Parquet file"),
        (0, piece(asked(), 0), "it is of sweep"),
        (0, piece(request, 1), "it has not the cells of piece 0"),
        (2, piece(request, 1), "pieces 0 to 1, and none of number 2"),
    ):
        with pytest.raises(JobRefused, match=why):
            parts.put(index, content)
    assert parts.done() == frozenset()
    with pytest.raises(JobRefused, match="there is no sweep"):
        http.state("0" * 32)
    with pytest.raises(JobsUnavailable):
        HttpSweeps(f"http://127.0.0.1:{free_port()}").register(request)


def test_a_folder_keeps_one_sweep(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    assert folder.sweep() is None
    assert [folder.begin(sweep(asked())) for _ in range(2)] == [True, False]
    assert folder.sweep() == sweep(asked())
    with pytest.raises(ValueError, match=r"holds sweep .*Take another folder"):
        folder.begin(sweep(asked(fees=0.0)))
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(ValueError, match="of another version, or no sweep's"):
        folder.sweep()


# -- what a cell comes to


def test_a_cell_comes_to_what_a_single_run_does(service: str) -> None:
    jobs, request = HttpJobs(service), asked()
    for row in rows(request):
        job = jobs.submit(request.backtest(row.parameters))
        while not job.ended:
            job = jobs.job(job.id)
        found = jobs.result(job.id)
        assert (row.figures, row.halted) == (found.figures, found.halted)
        assert (row.first, row.last) == (found.equity[0].date, found.equity[-1].date)


def test_what_was_trained_on_lies_before_what_is_tested_and_the_best_of_it_is_run() -> None:
    request = asked(grid=None, walk_forward={"grid": GRID, "train_bars": 80, "test_bars": 60}, metric="total_return")
    found = rows(request)
    for test in (row for row in found if row.phase is Phase.TEST):
        trained = [row for row in found if row.window == test.window and row.phase is Phase.TRAIN]
        assert len(trained) == 3 and all(row.last < test.first for row in trained)
        best = max(trained, key=lambda row: row.figures.total_return if row.figures else -1.0)
        assert test.parameters == best.parameters
        alone = made(asked(grid={name: [value] for name, value in test.parameters.items()}, start=str(test.first),
                           end=str(test.last)))  # fmt: skip
        assert run_piece(alone, 0, alone.engine())[0].figures == test.figures
    assert {row.window for row in found} == {0, 1}


class _Failing:
    """Fails where the slow average is 20; where it is 10, for want of memory."""

    name, version = "failing", "1"

    def __init__(self, *, memory: bool) -> None:
        self._memory, self._engine = memory, open_engine("memory")

    def run(self, strategy: Any, legs: Any, rules: Any) -> Any:
        if strategy.slow == 20:
            raise MemoryError if self._memory else RuntimeError("it broke")
        return self._engine.run(strategy, legs, rules)


def test_a_cell_that_fails_is_a_row_that_says_so_and_want_of_memory_fails_the_piece() -> None:
    shop, failing = made(asked(cells_per_index=4)), _Failing(memory=False)
    found = run_piece(shop, 0, failing)  # type: ignore[arg-type]
    assert [(row.error, row.figures is None) for row in found] == [
        ("", False), ("RuntimeError: it broke", True), ("RuntimeError: it broke", True)
    ]  # fmt: skip
    parts = MemoryParts()
    parts.put(0, tables.written(found, shop.sweep))
    standing = standing_of(shop.sweep, parts)
    assert (standing.run, standing.failed) == (3, 2)
    assert [row.number for row in standing.top] == [0, 1, 3]
    with pytest.raises(MemoryError):
        run_piece(shop, 0, _Failing(memory=True))  # type: ignore[arg-type]


def test_other_bars_are_refused() -> None:
    other = sweep(asked()).model_copy(update={"bars_sha256": ["0" * 64]})
    with pytest.raises(running.OtherBars, match="Ask for the sweep again"):
        workshop(other, HISTORIES, lambda: open_engine("memory"))


# -- the service


def test_a_sweep_is_asked_for_done_and_shown(service: str) -> None:
    http, request = HttpSweeps(service), asked(initial_cash=2e6, metric="max_drawdown")
    state = http.register(request)
    assert http.register(request.model_copy(update={"top": 1})) == state == http.state(state.sweep.id)
    assert (state.sweep.engine, state.sweep.cells, state.sweep.skipped, state.done) == ("memory", 3, 1, [])
    url, parts = f"{service}/sweeps/{state.sweep.id}", http.parts(state.sweep.id)
    parts.put(1, piece(request, 1))
    assert requests.get(f"{url}/results.parquet", timeout=30).status_code == 409
    assert [row.number for row in http.standing(state.sweep.id).top] == [3]
    parts.put(0, piece(request, 0))
    found = pyarrow.parquet.read_table(io.BytesIO(requests.get(f"{url}/results.parquet", timeout=30).content))
    assert found.column("number").to_pylist() == [0, 1, 3]
    assert found.column("fast").to_pylist() == [5, 5, 10] and str(found.schema.field("fast").type) == "int64"
    assert found.schema.metadata[b"crossover.sweep"] == state.sweep.id.encode()
    standing = http.standing(state.sweep.id, 2)
    drawdowns = [row.figures.max_drawdown for row in standing.top if row.figures]
    assert drawdowns == sorted(row.figures.max_drawdown for row in rows(request) if row.figures)[:2]
    assert standing.heat_map.x_labels == ["5", "10"] and standing.heat_map.values[0][1] is None
    page = requests.get(f"{url}/heatmap.html", params={"how": "mean"}, timeout=60).text
    assert "Plotly.newPlot" in page and "<script src" not in page  # it needs no network
    assert requests.get(f"{url}/heatmap.html", params={"x": "width"}, timeout=30).status_code == 422


def test_a_sweep_that_is_deleted_is_gone_and_takes_no_piece_any_more(service: str, tmp_path: Path) -> None:
    http, request = HttpSweeps(service), asked(initial_cash=4e6)
    sweep_id = http.register(request).sweep.id
    parts = http.parts(sweep_id)
    parts.put(0, piece(request, 0))
    http.delete(sweep_id)
    for meets in (
        lambda: parts.put(1, piece(request, 1)), lambda: parts.read(0), lambda: http.standing(sweep_id),
        lambda: http.delete(sweep_id),
    ):  # fmt: skip
        with pytest.raises(JobRefused, match="answers 404: there is no sweep"):
            meets()
    assert requests.get(f"{service}/sweeps/{sweep_id}/results.parquet", timeout=30).status_code == 404
    assert http.register(request).done == []  # it begins anew


class _Interrupted(Sweeps):
    """Somebody deletes the sweep once a piece was found to be good."""

    @override
    def find(self, sweep_id: str) -> tuple[Sweep, SweepFolder]:
        found = super().find(sweep_id)
        if self.armed:
            self.armed = False
            self.delete(sweep_id)
        return found

    armed = False


def test_a_piece_that_comes_while_its_sweep_is_deleted_brings_nothing_back(tmp_path: Path) -> None:
    sweeps = _Interrupted(tmp_path, lambda: fixed("memory"), HISTORIES)
    sweep_id, _ = sweeps.register(asked())
    sweeps.armed = True
    with pytest.raises(UnknownSweep):
        sweeps.put(sweep_id, 0, piece(asked(), 0))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".deleted-x" / sweep_id).mkdir(parents=True)  # as a process leaves that dies in the middle
    Sweeps(tmp_path, lambda: fixed("memory"), HISTORIES)
    assert list(tmp_path.iterdir()) == []


def test_results_are_kept_of_all_pieces_or_not_at_all(tmp_path: Path) -> None:
    folder, request = SweepFolder(tmp_path), asked()
    folder.begin(sweep(request))
    folder.parts.put(0, piece(request, 0))
    with pytest.raises(JobRefused, match="piece 1 is not there"):
        folder.results(sweep(request))
    assert not [path for path in tmp_path.iterdir() if "results" in path.name]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"symbol": "GOLD"}, "symbol is 'GOLD': there are no bars of it"),
        ({"engine": "nautilus"}, "which is not deployed now"),
        ({"grid": {"speed": [1]}}, "no parameter speed"),
        ({"start": "2030-01-01"}, "SP500 has no bars from 2030-01-01"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_refused(service: str, change: dict[str, Any], why: str) -> None:
    with pytest.raises(JobRefused, match=f"422.*{why}"):
        HttpSweeps(service).register(asked(**change))


# -- the pods


def test_a_pod_does_its_piece_once_and_says_what_cannot_be_helped(
    service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    request = asked(initial_cash=3e6)
    monkeypatch.setenv(names.ENV_BACKTESTING_URL, service)
    monkeypatch.setenv(names.ENV_SWEEP, request.model_dump_json(exclude_defaults=True))
    assert sweeping.main(["register"]) == 0
    sweep_id = json.loads(capsys.readouterr().out)["sweep"]["id"]
    for index in ("0", "1", "1"):
        monkeypatch.setenv(sweeping.ENV_INDEX, index)
        assert sweeping.main(["run", "--sweep", sweep_id]) == 0
    assert sweeping.main(["show", "--sweep", sweep_id, "--top", "1"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["run"], len(shown["top"]), shown["state"]["done"]) == (3, 1, [0, 1])
    assert rows_in(HttpSweeps(service).parts(sweep_id), sweep(request)) == rows(request)
    assert sweeping.main(["run", "--sweep", sweep_id, "--index", "2"]) == EXIT_REFUSED
    assert sweeping.main(["run", "--sweep", "0" * 32]) == EXIT_REFUSED
    capsys.readouterr()
    assert sweeping.main(["delete-bars", "--symbol", "SP500"]) == EXIT_REFUSED
    assert "SP500 cannot be deleted: it is shipped" in capsys.readouterr().out
    assert [sweeping.main(["delete", "--sweep", sweep_id]) for _ in range(2)] == [0, EXIT_REFUSED]
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == {"deleted": sweep_id}
    monkeypatch.setenv(names.ENV_BACKTESTING_URL, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(sweeping, "PATIENCE_SECONDS", 0.1)
    assert sweeping.main(["run", "--sweep", sweep_id]) == 1


# -- on a laptop

SLOW = {"start": "1999-01-01", "grid": {"fast": [*range(2, 12)], "slow": [*range(20, 32)]}, "cells_per_index": 1}
COUNT = 120
"""Of its pieces, some seconds of work: what is done to a sweep under way meets it there on a full machine, too."""


def begun(spec: Path, folder: Path, processes: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cli", "sweep", "run", str(spec), "--folder", str(folder)]
    command += ["--processes", str(processes)]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "COLUMNS": "150"},
    )  # fmt: skip


def until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert process.poll() is None and time.monotonic() < deadline, "the moment never came"
        time.sleep(0.005)  # the folder is polled, with a deadline


def test_a_sweep_that_is_killed_is_resumed_and_comes_to_the_same(tmp_path: Path) -> None:
    request, spec, folder = asked(**SLOW), tmp_path / "sweep.json", tmp_path / "out"
    spec.write_text(request.model_dump_json(exclude_defaults=True))
    kept = SweepFolder(folder)
    killed = begun(spec, folder)
    until(lambda: len(kept.parts.done()) >= 2, killed)
    os.killpg(killed.pid, signal.SIGKILL)  # its processes with it, as where the machine goes down
    killed.communicate(timeout=30)
    left = kept.parts.done()
    assert 2 <= len(left) < COUNT
    before = {index: kept.parts.read(index) for index in left}

    interrupted = begun(spec, folder)
    until(lambda: len(kept.parts.done()) > len(left), interrupted)
    os.killpg(interrupted.pid, signal.SIGINT)
    output, _ = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130 and "The same command goes on with the rest" in output, output
    assert "Traceback" not in output

    resumed = begun(spec, folder, 2)
    output, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0 and f"{COUNT} of {COUNT} cells are run" in output, output
    assert {index: kept.parts.read(index) for index in left} == before  # nothing was done again
    found = pyarrow.parquet.read_table(folder / "results.parquet").column("number").to_pylist()
    assert found == list(range(COUNT))
    assert rows_in(kept.parts, sweep(request)) == rows(request)
    assert (folder / "heatmap.html").stat().st_size > 1_000_000
