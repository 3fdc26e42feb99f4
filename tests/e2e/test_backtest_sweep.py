"""Sweeps on the cluster: one submitted twice, a pod of it evicted, cancelled, resumed, shown; and one of a strategy of
one's own. They are bounded in time."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import names
from contracts.stages import Component
from tests.e2e.chaos import await_true
from tests.e2e.journey import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

_NAME = "test-sweep"
_STRATEGIES = "test-strategies"
_MOMENTUM = Path(__file__).parent.parent / "contract" / "own_strategies" / "momentum.py"


@pytest.fixture(autouse=True)
def no_sweep_stays(stack: Stack) -> Iterator[None]:
    yield
    stack.kubectl.run("delete", "job", _NAME, "--ignore-not-found", timeout=90)


def spec(folder: Path, strategy: str, grid: dict[str, list[int]]) -> Path:
    """Pieces of four cells; another sweep with each call, so that none is done from an earlier run."""
    path = folder / "sweep.json"
    cash = 1e6 + uuid.uuid4().int % 10**5
    asked = {
        "strategy": strategy, "symbol": "SP500", "initial_cash": cash, "cells_per_index": 4, "top": 12, "grid": grid,
    }  # fmt: skip
    path.write_text(json.dumps(asked))
    return path


@pytest.fixture
def own_strategies(backtests: Stack) -> Iterator[Stack]:
    """The stack, whose backtests know a strategy of one's own for as long as the test lasts."""
    key = f"crossover:{Component.BACKTESTING.value}.strategies"
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _STRATEGIES, "namespace": names.NAMESPACE}}
    backtests.kubectl.apply({**made, "data": {_MOMENTUM.name: _MOMENTUM.read_text()}})
    backtests.pulumi.set(key, _STRATEGIES)
    backtests.pulumi.up()
    yield backtests
    backtests.pulumi.unset(key)
    backtests.pulumi.up()
    backtests.kubectl.run("delete", "configmap", _STRATEGIES)


def pods(stack: Stack) -> list[Any]:
    found = stack.kubectl.get("pods", "-l", f"batch.kubernetes.io/job-name={_NAME}") or {"items": []}
    return list(found["items"])


def running(stack: Stack) -> list[Any]:
    return [pod for pod in pods(stack) if pod["status"]["phase"] == "Running"]


def status(stack: Stack) -> Any:
    return json.loads(stack.crossover("sweep", "status", _NAME, "--json"))


def submit(stack: Stack, asked: Path) -> str:
    return stack.crossover("sweep", "submit", str(asked), "--parallelism", "2", "--name", _NAME)


def evict(stack: Stack, pod: str) -> None:
    """As a drained node does."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": names.NAMESPACE}}
    path = f"/api/v1/namespaces/{names.NAMESPACE}/pods/{pod}/eviction"
    stack.kubectl.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def test_evicted_cancelled_and_resumed_each_cell_is_there_once(backtests: Stack, tmp_path: Path) -> None:
    asked = spec(tmp_path, "sma_cross", {"fast": [5, 10, 15], "slow": [20, 40, 60, 80]})
    assert f"{_NAME} begins" in submit(backtests, asked)
    await_true(lambda: bool(running(backtests)), 120, "a pod of the sweep runs")
    victim = running(backtests)[0]["metadata"]["name"]
    evict(backtests, victim)
    assert "is under way already" in submit(backtests, asked)
    await_true(lambda: len(status(backtests)["completed"]) >= 1, 300, "a piece is done")
    assert {pod["spec"].get("automountServiceAccountToken") for pod in pods(backtests)} == {False}
    backtests.crossover("sweep", "cancel", _NAME)
    await_true(lambda: not pods(backtests), 120, "its pods are gone")
    assert backtests.kubectl.get("job", _NAME) is None
    output = submit(backtests, asked)
    assert "of its pieces are there" in output or "there is nothing to do" in output
    if f"{_NAME} begins" in output:
        await_true(lambda: status(backtests)["state"] == "done", 600, "the rest is done")
    page = tmp_path / "heatmap.html"
    shown = json.loads(backtests.crossover("sweep", "top", _NAME, "--json", "--heat-map", str(page)).splitlines()[0])
    assert (shown["run"], shown["failed"], shown["state"]["done"]) == (12, 0, [0, 1, 2])
    assert sorted(row["number"] for row in shown["top"]) == list(range(12))
    ratios = [row["figures"]["sharpe"] for row in shown["top"]]
    assert ratios == sorted(ratios, key=lambda ratio: -math.inf if ratio is None else ratio, reverse=True)
    assert "Plotly.newPlot" in page.read_text()
    assert "there is nothing to do" in submit(backtests, asked)
    assert names.BACKTEST_SWEEP_NAME in json.dumps(backtests.kubectl.get("networkpolicies"))


def test_a_strategy_of_ones_own_is_swept_by_pods_that_confine_it(own_strategies: Stack, tmp_path: Path) -> None:
    submit(own_strategies, spec(tmp_path, "momentum", {"period": [5, 10, 20, 40, 60, 80, 120, 200]}))
    await_true(lambda: status(own_strategies)["state"] == "done", 600, "it is done")
    shown = json.loads(own_strategies.crossover("sweep", "top", _NAME, "--json").splitlines()[0])
    assert (shown["run"], shown["failed"], shown["state"]["done"]) == (8, 0, [0, 1])
    assert any(row["figures"]["sharpe"] for row in shown["top"])
