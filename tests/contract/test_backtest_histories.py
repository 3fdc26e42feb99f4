"""Histories that users send: kept, tested on by both real engines, refused, replaced, damaged; read by Nautilus."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from adapters.backtesting import open_engine
from adapters.backtesting.bars import Bars
from adapters.backtesting.comparing import compared
from adapters.backtesting.histories import Catalog, Options, import_file, read_bars
from adapters.backtesting.http_jobs import answered
from adapters.backtesting.jobs import JobRefused
from adapters.backtesting.sweeps.histories import csv_histories, fetched_histories
from adapters.backtesting.sweeps.http_sweeps import HttpSweeps
from adapters.backtesting.sweeps.running import do_piece, workshop
from adapters.csv_bars import SHIPPED
from contracts.backtests import Result
from contracts.stages import Stage
from contracts.sweeps import SweepAsked
from services.backtesting_service.api import create_api
from services.backtesting_service.histories import Histories
from services.backtesting_service.imports import Imports
from services.backtesting_service.models import BacktestRequest, RunState
from services.backtesting_service.routing import fixed
from services.backtesting_service.runs import Runs
from services.backtesting_service.store import RunStore
from services.common.web import Health
from tests.contract.backtest_service import backtest_service
from tests.contract.backtest_worlds import intraday
from tests.contract.test_backtesting_service import ASKED, World, until

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]

DAYS = 250


def csv_of(bars: Bars, scale: float = 1.0) -> bytes:
    """As a user might have it: instants of UTC, and a volume."""
    lines = ["Timestamp,Open,High,Low,Close,Volume"]
    for number in range(len(bars)):
        prices = (float(column[number]) * scale for column in (bars.open, bars.high, bars.low, bars.close))
        lines.append(",".join([bars.at(number).isoformat(), *map(repr, prices), "5"]))
    return "\n".join([*lines, ""]).encode()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    env = {"DATA_PATH": str(tmp_path / "catalog"), "BACKTESTING_BARS_MIB": "1"}
    with World(tmp_path / "runs", env).served() as made:
        made.go(Stage.SHADOW, 2)
        yield made


def result(world: World, run: Any) -> Result:
    ended = world.ended(run["id"])
    assert ended["state"] == "done", ended
    return Result.model_validate_json(world.client.get(f"/backtests/{run['id']}/result").content)


def test_a_history_is_sent_tested_on_by_both_engines_replaced_and_damaged(world: World, tmp_path: Path) -> None:
    client, bars = world.client, intraday("SP500", DAYS)
    sent = client.put("/bars/MINE", content=csv_of(bars))
    assert sent.status_code == 201, sent.text
    known = sent.json()
    assert (known["period_seconds"], known["count"], known["source"]) == (21_600, 4 * DAYS, "the file of MINE")
    assert client.get("/bars").json()["items"][-1] == known
    assert client.get("/offer").json()["symbols"] == ["SP500", "NASDAQ", "MINE"]
    fetched = pq.read_table(io.BytesIO(client.get("/bars/MINE.parquet").content))
    assert fetched.column("close").to_pylist() == bars.close.tolist()

    runs = [world.submit(symbol="MINE", engine=engine) for engine in ("vectorbt", "nautilus")]
    first, second = (result(world, run) for run in runs)
    assert compared(first, second).same and len(first.fills) > 20 and first.bars_sha256 == [known["sha256"]]
    assert len({fill.at.hour for fill in first.fills if fill.at is not None}) == 4

    bad = csv_of(bars).replace(b",5\n", b",-5\n", 7)
    for content, says in (
        (bad, "has 7 problems, nothing of it was taken:\nline 2: volume is -5.0"),
        (b"PAR1", "Parquet"),
    ):
        refused = client.put("/bars/MINE", content=content)
        assert refused.status_code == 422 and says in refused.json()["error"], refused.text
    assert client.put("/bars/MINE", content=bytes(1 << 21)).status_code == 413
    assert client.put("/bars/MINE?timezone=Mars", content=b"").status_code == 422
    assert client.get("/bars").json()["items"][-1] == known
    assert world.submit(symbol="MINE", engine="vectorbt")["state"] == "done"

    replaced = client.put("/bars/MINE", content=csv_of(bars, 2.0))
    assert (replaced.status_code, replaced.json()["count"]) == (200, 4 * DAYS)
    other = world.submit(symbol="MINE", engine="vectorbt")
    assert other["id"] != runs[0]["id"] and result(world, other).figures != first.figures
    [file] = (tmp_path / "catalog").glob("data/bar/MINE*/*.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    failed = world.ended(world.submit(symbol="MINE", engine="vectorbt", fees=0.002)["id"])
    assert failed["state"] == "failed" and f"HistoryError: {file} cannot be read" in failed["error"], failed
    assert client.get("/bars/MINE.parquet").status_code == 409
    assert client.get("/healthz").status_code == 200 and world.ended(world.submit()["id"])["state"] == "done"


def test_bars_are_deleted_once_no_run_is_under_way_on_them_and_results_stay(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    imports = Imports(folder, 1)
    runs = Runs(RunStore(tmp_path), lambda: fixed("memory"), Histories(SHIPPED, folder), 1)
    client = TestClient(create_api(runs, runs.store, Health(), imports=imports))
    assert client.put("/bars/MINE", content=csv_of(intraday("SP500", 50))).status_code == 201
    run = client.post("/backtests", json={**ASKED, "symbol": "MINE"}).json()  # it waits: nothing was started
    refused = client.delete("/bars/MINE")
    assert refused.status_code == 409 and f"1 runs that wait or run use the bars of MINE, {run['id']}" in refused.text
    for symbol, status, says in (
        ("SP500", 409, "SP500 cannot be deleted: it is shipped with the service"),
        ("NOBODY", 404, "there is no history of NOBODY"),
    ):
        answer = client.delete(f"/bars/{symbol}")
        assert answer.status_code == status and says in answer.text
    runs.start()
    try:
        until(lambda: client.get(f"/backtests/{run['id']}").json()["state"] == "done", "it is done")
        with imports._one:  # as while a history is taken
            assert client.delete("/bars/MINE").status_code == 503
        assert client.delete("/bars/MINE").status_code == 204
        assert client.delete("/bars/MINE").status_code == 404
        assert client.get(f"/backtests/{run['id']}/result").json()["bars"] == 200
        assert client.get("/bars/MINE.parquet").status_code == 404
        assert client.post("/backtests", json={**ASKED, "symbol": "MINE"}).status_code == 422
    finally:
        runs.stop(10)


def test_nautilus_reads_the_catalog_as_its_own(tmp_path: Path) -> None:
    file, bars = tmp_path / "x.csv", intraday("NASDAQ", DAYS)
    file.write_bytes(csv_of(bars))
    import_file(file, "X-1.Y", tmp_path / "catalog", Options())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, which it asks in a way that is to go
        from nautilus_trader.persistence.catalog import ParquetDataCatalog

        found = ParquetDataCatalog(tmp_path / "catalog").bars()
    assert {str(bar.bar_type) for bar in found} == {"X-1.Y.CROSSOVER-6-HOUR-LAST-EXTERNAL"}
    assert [bar.ts_event for bar in found] == [bar.ts_init for bar in found] == (bars.closed + 1).tolist()
    for name in ("open", "high", "low", "close"):
        assert [float(str(getattr(bar, name))) for bar in found] == getattr(bars, name).tolist(), name
    place = Catalog(tmp_path / "catalog").place("X-1.Y")
    assert place is not None and read_bars(place).close.tolist() == bars.close.tolist()


def test_a_run_whose_bars_were_replaced_while_it_waited_says_so(tmp_path: Path) -> None:
    file, folder = tmp_path / "x.csv", tmp_path / "catalog"
    bars = intraday("SP500", 50)
    file.write_bytes(csv_of(bars))
    import_file(file, "MINE", folder, Options())
    store = RunStore(tmp_path)
    runs = Runs(store, lambda: fixed("memory"), Histories({}, folder), 1)
    run, _ = runs.submit(BacktestRequest.model_validate({**ASKED, "symbol": "MINE"}))
    file.write_bytes(csv_of(bars, 2.0))
    import_file(file, "MINE", folder, Options())
    runs.start()
    try:
        until(lambda: getattr(store.get(run.id), "state", None) is RunState.FAILED, "it failed")
        failed = store.get(run.id)
        assert failed is not None and "Replaced: the history of MINE, or the strategy, was replaced meanwhile" in str(
            failed.error
        )
    finally:
        runs.stop(10)


def test_the_pods_of_a_sweep_fetch_the_bars_that_were_sent(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    with backtest_service(tmp_path, DATA_PATH=str(catalog)) as running:
        answered(running.address, "PUT", "/bars/MINE", data=csv_of(intraday("SP500", DAYS)))
        [known] = Catalog(catalog).all()
        of_service = fetched_histories(running.address, csv_histories({}))
        assert of_service("MINE").sha256 == known.sha256
        sweeps = HttpSweeps(running.address)
        state = sweeps.register(
            SweepAsked(strategy="sma_cross", symbol="MINE", grid={"fast": [5, 10], "slow": [30]}, metric="sharpe")
        )
        assert state.sweep.bars_sha256 == [known.sha256]
        shop = workshop(state.sweep, of_service, lambda: open_engine("memory"))
        assert do_piece(shop, 0, sweeps.parts(state.sweep.id))
        shown = sweeps.standing(state.sweep.id)
        assert (shown.run, shown.failed, shown.state.done) == (2, 0, [0])
        with pytest.raises(JobRefused):
            of_service("NOBODY")
