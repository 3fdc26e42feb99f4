"""Each real service against its OpenAPI document: what it answers is documented, and bad input is refused as such."""

from __future__ import annotations

import json
import os
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import schemathesis
from fastapi import FastAPI, HTTPException
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET

from adapters.backtesting.http_jobs import HttpJobs
from contracts.backtests import BacktestAsked
from contracts.llm import REQUIRED_ALIASES
from tests.contract import postgres_server
from tests.contract.api_conformance import DOCUMENTS, conformance, operations_of
from tests.contract.backtest_service import backtest_service
from tests.contract.bus_servers import REDIS_PASSWORD
from tests.contract.faulty_llm import Faulty
from tests.contract.orchestrated import served
from tests.contract.orchestrator_server import orchestrator
from tests.contract.own_servers import own_redis
from tests.contract.test_backtest_jobs import done
from tests.contract.test_trading_services import REPOSITORY, Process, wait_for_effects

pytestmark = [pytest.mark.contract, pytest.mark.timeout(120)]

BACKTESTING, ORCHESTRATOR = "backtesting-service", "llm-orchestrator"
LEAST = 3
"""Requests that each operation must have seen: a document that is read past proves nothing."""


def conforms(service: str, address: str, **how: Any) -> None:
    tried = conformance(service, address, **how)
    assert not tried.wrong, "\n\n".join(tried.wrong[:10])
    few = {operation: tried.requests[operation] for operation in operations_of(service)}
    assert all(count >= LEAST for count in few.values()), few


@contextmanager
def trading(folder: Path) -> Iterator[tuple[Process, Process]]:
    """The engine and the feed, which have worked."""
    binaries = postgres_server.find_postgres()
    if binaries is None:
        pytest.skip("needs Postgres here: see CONTRIBUTING")
    with ExitStack() as stack:
        redis = stack.enter_context(own_redis(folder))
        server = stack.enter_context(postgres_server.postgres(binaries))
        with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
            admin.execute(f"create role trading login password '{postgres_server.PASSWORD}'")
            admin.execute("create database trading owner trading")
        env = {
            "PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "EVENT_BUS_TYPE": "redis",
            "REDIS_URL": redis.url, "REDIS_PASSWORD": REDIS_PASSWORD, "DATABASE_URL": server.url(),
            "MARKET_FEED_RATE": "500",
        }  # fmt: skip
        engine, feed = (Process(f"services.{name}", folder, env) for name in ("trading_engine", "market_feed"))
        for process in (engine, feed):
            stack.callback(process.kill)
            process.wait_ready()
        wait_for_effects(server.url(), 500)
        yield engine, feed


def answered(service: str, address: str, path: str, method: str = "GET", *, body: Any = None, **parameters: str) -> int:
    """The status of one request's answer, which must be as documented; `parameters` stand in the path."""
    operation = schemathesis.openapi.from_path(DOCUMENTS / f"{service}.json")[path][method]
    case = operation.Case(
        path_parameters=parameters, body=NOT_SET if body is None else body,
        media_type=None if body is None else "application/json",
    )  # fmt: skip
    return case.call_and_validate(address, excluded_checks=[not_a_server_error]).status_code


def test_the_trading_engine_and_the_market_feed_answer_as_their_documents_say(tmp_path: Path) -> None:
    with trading(tmp_path) as (engine, feed):
        conforms("trading-engine", f"http://127.0.0.1:{engine.port}", examples=50)
        conforms("market-feed", f"http://127.0.0.1:{feed.port}", examples=5)
        for path in ("/positions", "/orders", "/signals"):  # of something, not of nothing
            assert json.loads(engine.get(path))["items"], path
            answered("trading-engine", f"http://127.0.0.1:{engine.port}", path)
        for path in ("/orders?key=%00", "/positions?after=%00", "/signals?before=9223372036854775808"):
            # What a database cannot hold, which drawn requests do not meet: no 503, which would be tried again.
            with pytest.raises(urllib.error.HTTPError) as refused:
                engine.get(path)
            assert refused.value.code == 422, path
            refused.value.close()


def test_the_orchestrator_answers_as_its_document_says(tmp_path: Path) -> None:
    with (
        Faulty("hosted") as hosted,
        orchestrator(hosted.url, dict.fromkeys(REQUIRED_ALIASES, "m"), "key", tmp_path / "log") as running,
    ):
        address = running.url.removesuffix("/v1")
        conforms(ORCHESTRATOR, address, examples=30)
        for streamed in (False, True):
            body = {"model": "default", "messages": [{"role": "user", "content": "?"}], "stream": streamed}
            answered(ORCHESTRATOR, address, "/v1/chat/completions", "POST", body=body)
        for fault in ("server", "limited", "dropped"):
            hosted.fault = fault
            body = {"model": "default", "messages": [{"role": "user", "content": fault}]}
            status = answered(ORCHESTRATOR, address, "/v1/chat/completions", "POST", body=body)
            assert status >= 429, fault


def test_the_backtesting_service_answers_as_its_document_says(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    single = [
        # /bars/X.parquet is a file of X, and also the place of a history that is itself named X.parquet.
        {"include-path": "/bars/{symbol}.parquet", "checks": {"allow_header_conformance": {"enabled": False}}},
        # Each file that is sent is read by a process of its own: half a second each.
        {"include-path": "/bars/{symbol}", "include-method": "PUT", "phases": {"coverage": {"enabled": False}}},
    ]
    with backtest_service(tmp_path, DATA_PATH=str(data)) as running:
        conforms(BACKTESTING, running.address, examples=5, refused=["422"], operations=single)
        a_real_run_answers(running.address)


def a_real_run_answers(address: str) -> None:
    """What is asked of a run that there is; made-up ids only ever meet 404."""
    asked = {"strategy": "sma_cross", "parameters": {"fast": 10, "slow": 30}, "symbol": "SP500", "engine": "memory"}
    jobs = HttpJobs(address)
    run = jobs.submit(BacktestAsked.model_validate(asked)).id
    done(jobs, jobs.job(run))
    for path in ("/backtests/{run_id}", "/backtests/{run_id}/result", "/backtests/{run_id}/report.html"):
        assert answered(BACKTESTING, address, path, run_id=run) == 200
    for table in ("equity", "orders", "trades"):
        assert answered(BACKTESTING, address, "/backtests/{run_id}/{table}.parquet", run_id=run, table=table) == 200
    assert answered(BACKTESTING, address, "/backtests/{run_id}/cancel", "POST", run_id=run) == 409


def test_a_service_that_is_not_as_its_document_says_is_found_out() -> None:
    app = FastAPI()

    @app.get("/feed")
    def feed() -> dict[str, str]:
        return {"rate": "fast"}

    @app.get("/version")
    def version() -> None:
        raise HTTPException(500)

    with served(app) as url:
        wrong = "\n".join(conformance("market-feed", url.removesuffix("/v1"), examples=1).wrong)
    for found in ("GET /feed: response_schema", "GET /version: not_a_server_error", "GET /readyz: status_code"):
        assert found in wrong, wrong
