"""Backtests as their callers see them: submitted once, followed, read; what a restart and a dead worker do."""

from __future__ import annotations

import errno
import io
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, override

import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient

from adapters.backtesting import BacktestError
from adapters.csv_bars import SHIPPED
from contracts.backtests import Divergence
from contracts.names import BACKTESTING_NAME
from services.backtesting_service import work
from services.backtesting_service.api import create_api
from services.backtesting_service.histories import Histories
from services.backtesting_service.models import BacktestRequest, Run, RunState
from services.backtesting_service.routing import Plan, Tally, fixed
from services.backtesting_service.runs import Runs
from services.backtesting_service.service import Backtesting
from services.backtesting_service.settings import BacktestingSettings
from services.backtesting_service.store import RunStore
from services.common.settings import SettingsError
from services.common.web import Health
from tests.unit.backtesting.played_worker import children

ASKED = {"strategy": "sma_cross", "parameters": {"fast": 10, "slow": 30}, "symbol": "SP500"}
DEADLINE = 30.0


def memory() -> Plan:
    return fixed("memory")


@contextmanager
def served(folder: Path) -> Iterator[TestClient]:
    store = RunStore(folder)
    runs = Runs(store, memory, Histories(SHIPPED), 1)
    with TestClient(create_api(runs, store, Health(live={"runs": runs.alive}), Backtesting(runs))) as client:
        yield client


def table_of(client: TestClient, run_id: str, name: str) -> Any:
    answer = client.get(f"/backtests/{run_id}/{name}.parquet")
    assert answer.status_code == 200, answer.text
    return pyarrow.parquet.read_table(io.BytesIO(answer.content))


def ended(client: TestClient, run_id: str) -> Any:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        run = client.get(f"/backtests/{run_id}").json()
        if run["state"] in ("done", "failed"):
            return run
        time.sleep(0.02)  # the API offers polling only
    raise AssertionError(f"the run did not end in {DEADLINE:g} s: {run}")


def test_a_backtest_is_submitted_followed_read_and_still_there_after_a_restart(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        submitted = client.post("/backtests", json=ASKED)
        assert submitted.status_code == 202
        run_id = submitted.json()["id"]
        assert submitted.headers["location"] == f"/backtests/{run_id}"
        assert ended(client, run_id)["error"] is None
        result = client.get(f"/backtests/{run_id}/result").json()
        assert result["bars"] == len(result["equity"]) == 5031
        assert result["figures"]["trades"] == len(result["trades"]) > 50
        assert result["equity"][-1]["equity"] == result["figures"]["final_equity"]
        equity, orders, trades = (table_of(client, run_id, name) for name in ("equity", "orders", "trades"))
        assert equity.column("equity").to_pylist() == [point["equity"] for point in result["equity"]]
        assert orders.column("price").to_pylist() == [fill["price"] for fill in result["fills"]]
        assert trades.column("pnl").to_pylist() == [trade["pnl"] for trade in result["trades"]]
        assert equity.schema.metadata[b"crossover.run"] == run_id.encode()
        assert client.get(f"/backtests/{'0' * 32}/equity.parquet").status_code == 404

        bad = client.post("/backtests", json={**ASKED, "start": "2030-01-01"}).json()
        assert "SP500 has no bars from 2030-01-01" in ended(client, bad["id"])["error"]
        assert client.get(f"/backtests/{bad['id']}/result").status_code == 409
    with served(tmp_path) as client:
        again = client.post("/backtests", json={"parameters": {"slow": 30, "fast": 10}, **ASKED})
        assert (again.status_code, again.json()["id"], again.json()["state"]) == (200, run_id, "done")
        assert client.get(f"/backtests/{run_id}/result").json() == result
        page = client.get("/backtests", params={"limit": 1}).json()
        assert [run["id"] for run in page["items"]] == [bad["id"]]
        page = client.get("/backtests", params={"limit": 1, "after": page["next"]}).json()
        assert ([run["id"] for run in page["items"]], page["next"]) == ([run_id], None)


def test_a_run_that_a_dead_process_left_is_run_at_the_next_start(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    idle = Runs(store, memory, Histories(SHIPPED), 1)  # never started: as if it died at once
    run, new = idle.submit(BacktestRequest.model_validate(ASKED))
    assert new
    store.put(run.model_copy(update={"state": RunState.RUNNING}))
    with served(tmp_path) as client:
        assert ended(client, run.id)["state"] == "done"


def test_a_worker_that_dies_fails_no_run(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    runs = Runs(store, memory, Histories(SHIPPED), 1)
    runs.start()
    try:
        first, _ = runs.submit(BacktestRequest.model_validate(ASKED))
        wait_until_done(store, first.id)
        second, _ = runs.submit(BacktestRequest.model_validate({**ASKED, "symbol": "NASDAQ"}))
        for worker in children():
            os.kill(worker, signal.SIGKILL)
        assert wait_until_done(store, second.id) is RunState.DONE
    finally:
        runs.stop(DEADLINE)


def wait_until_done(store: RunStore, run_id: str) -> RunState | None:
    deadline = time.monotonic() + DEADLINE
    state = None
    while time.monotonic() < deadline and state not in (RunState.DONE, RunState.FAILED):
        run = store.get(run_id)
        state = run.state if run else None
        time.sleep(0.02)  # the store announces nothing
    return state


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"strategy": "magic"}, "there is no such strategy"),
        ({"parameters": {"fast": 30, "slow": 10}}, "the averages could never cross"),
        ({"parameters": {"speed": 1}}, "sma_cross has no parameter speed"),
        ({"symbol": "GOLD"}, "there are no bars of it"),
        ({"start": "2010-01-02", "end": "2010-01-01"}, "lies after end"),
        ({"leverage": 2}, "Extra inputs"),
        ({"fees": -0.1}, "greater than or equal to 0"),
        ({"against": "NASDAQ"}, "sma_cross trades 1 symbols, 2 are named. Leave `against` out"),
        ({"strategy": "pair_reversion", "parameters": {}}, "trades 2 symbols, 1 are named. Name the second"),
        ({"against": "SP500"}, "a pair has two legs"),
        ({"sizing": {"kind": "equity", "amount": 1.5}}, "nothing can be borrowed"),
    ],
)
def test_a_request_that_cannot_be_run_is_refused_and_leaves_nothing(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with served(tmp_path) as client:
        answer = client.post("/backtests", json={**ASKED, **change})
        assert answer.status_code == 422
        assert says in answer.text
        assert client.get("/backtests").json()["items"] == []
        assert client.get("/backtests/" + "0" * 32).status_code == 404
        assert client.get("/backtests/..%2f..%2fetc").status_code in (404, 422)


def test_another_engine_or_history_is_another_run() -> None:
    request = BacktestRequest.model_validate(ASKED)
    ids = {request.identity(engine, [bars]) for engine in ("vectorbt", "memory") for bars in ("a", "b")}
    assert len(ids) == 4


def test_a_record_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run, _ = Runs(store, memory, Histories(SHIPPED), 1).submit(BacktestRequest.model_validate(ASKED))
    (tmp_path / ("f" * 32)).mkdir()
    (tmp_path / ("f" * 32) / "run.json").write_text("{")
    assert [one.id for one in RunStore(tmp_path).all()] == [run.id]


def test_a_worker_answers_in_files_alone() -> None:
    request = BacktestRequest.model_validate({**ASKED, "strategy": "buy_and_hold", "parameters": {}})
    answer = work.run(work.Job("0" * 32, request.model_dump_json(), "memory", (SHIPPED["SP500"],), ("0",)))
    assert b'"engine":"memory"' in answer["result.json"]


def test_results_need_a_folder() -> None:
    with pytest.raises(SettingsError, match=r"RESULTS_PATH is not set\. Set RESULTS_PATH to a folder"):
        BacktestingSettings.from_env(BACKTESTING_NAME, {})
    with pytest.raises(SettingsError, match="cannot be made"):
        BacktestingSettings.from_env(BACKTESTING_NAME, {"RESULTS_PATH": "/proc/results"})


def test_a_strategy_that_ends_its_process_ends_its_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(job: work.Job) -> None:
        raise SystemExit(3)

    monkeypatch.setattr(work, "_run", leave)
    with pytest.raises(BacktestError, match="the strategy ended its process: SystemExit"):
        work.run(work.Job("0" * 32, "{}", "memory", (), ()))


class FullStore(RunStore):
    """Its volume takes no divergence, and at last nothing."""

    full = False

    @override
    def _write(self, run_id: str, name: str, content: bytes) -> None:
        if self.full or name == "divergence.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        super()._write(run_id, name, content)


def test_a_comparison_that_cannot_be_kept_changes_nothing_else(tmp_path: Path) -> None:
    store, tally = FullStore(tmp_path), Tally()
    runs = Runs(store, memory, Histories(SHIPPED), 1, tally=tally)
    same = Divergence(
        engines=("memory", "other"), same=True, fills=(0, 0), bars=1, equity_apart=0.0, differences=0, named=[]
    )
    runs._diverged("0" * 32, same)
    assert tally.status().get("compared") == "1"


def test_a_full_volume_does_not_keep_the_service_from_starting(tmp_path: Path) -> None:
    store = FullStore(tmp_path)
    run = Run(
        id="0" * 32, engine="memory", request=BacktestRequest.model_validate(ASKED), state=RunState.RUNNING,
        submitted_at=datetime.now(UTC),
    )  # fmt: skip
    store.put(run)
    store.full = True
    runs = Runs(store, memory, Histories(SHIPPED), 1)
    runs.start()
    runs.stop(DEADLINE)
    found = store.get(run.id)
    assert found is not None and found.state in (RunState.QUEUED, RunState.FAILED)
