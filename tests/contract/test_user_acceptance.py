"""What `crossover uat` asks holds of the services' real APIs, and is seen not to where it does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts import names
from tests.contract.backtest_service import backtest_service
from tests.contract.orchestrator_server import await_answer
from tests.contract.postgres_server import free_port

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parents[2]
PLAYED = (names.TRADING_ENGINE_NAME, names.LLM_ORCHESTRATOR_NAME, names.MARKET_FEED_NAME)


@contextmanager
def played(folder: Path, **more: str) -> Iterator[list[str]]:
    """The options by which the command finds the played services."""
    ports = [free_port() for _ in PLAYED]
    with (folder / "played.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.played_backend", *map(str, ports)],
            cwd=ROOT, env={"PATH": os.environ["PATH"], **more}, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        for port in ports:
            await_answer(f"http://127.0.0.1:{port}/readyz", process, folder / "played.log")
        pairs = [f"{name}=http://127.0.0.1:{port}" for name, port in zip(PLAYED, ports, strict=True)]
        yield [word for pair in pairs for word in ("--url", pair)]
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def backtests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with backtest_service(tmp_path_factory.mktemp("backtests")) as running:
        yield ["--url", f"{names.BACKTESTING_NAME}={running.address}"]


def uat(*options: str) -> tuple[int, dict[str, Any]]:
    """Its exit status, and its report. There is no cluster."""
    environment = os.environ | {"KUBECONFIG": "/nonexistent", names.ENV_ACTOR: "ann@desk"}
    done = subprocess.run(
        [sys.executable, "-m", "cli", "uat", "--json", *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


def broken(report: dict[str, Any]) -> dict[str, str]:
    return {one["test"]: one["detail"] for one in report["expectations"] if one["outcome"] == "does not hold"}


def test_a_backend_is_accepted_and_again_with_what_was_seen_before_and_not_once_it_is_gone(
    backtests: list[str], tmp_path: Path
) -> None:
    with played(tmp_path) as urls:
        code, report = uat(*urls, *backtests, "--report", str(tmp_path / "uat.html"))
        assert (code, broken(report), report["accepted"]) == (0, {}, True)
        assert report["by"] == "ann@desk"
        assert {one["outcome"] for one in report["expectations"]} == {"holds", "not asked"}
        assert {one["who"] for one in report["expectations"]} >= {"A trader", "A quant", "An engineer"}
        first = tmp_path / "first.json"
        first.write_text(json.dumps(report))
        code, again = uat(*urls, *backtests, "--before", str(first))
        assert (code, {one["outcome"] for one in again["expectations"]}) == (0, {"holds"})
        assert again["earlier"] == report["digest"]
    page = (tmp_path / "uat.html").read_text()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert data is not None and json.loads(data[1])["seen"] == report["seen"]
    assert "Accepted" in page and "http://" not in page.replace("http://127.0.0.1", "")
    # The same APIs over another database: what was seen is not in it, and what it tells of positions is wrong.
    with played(tmp_path, PLAYED_FORGETS="1") as urls:
        code, other = uat(*urls, *backtests, "--before", str(first))
    assert (code, other["accepted"]) == (1, False)
    assert {"test_orders_from_before_are_still_there", "test_what_is_held_is_what_was_traded"} <= set(broken(other))
