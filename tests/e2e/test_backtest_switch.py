"""Backtests on the cluster, moved by the plain `pulumi` CLI while runs are asked for: there, with its Job killed, and
back. One load runs through it all, within the service's own pod. It is bounded in time."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from contracts import names
from contracts.stages import Component, Side, Stage, backend_of
from cutover.tables import Step
from tests.e2e.chaos import Run, remove_runs, settled
from tests.e2e.journey import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

OLD, NEW = (backend_of(Component.BACKTESTING, side) for side in Side)
_LOAD = f"""
import json, sys, time, urllib.request as r
front = "http://127.0.0.1:{names.HTTP_PORT}"
def asked(path, body=None):
    request = r.Request(front + path, body and json.dumps(body).encode(), {{"content-type": "application/json"}})
    return json.load(r.urlopen(request, timeout=30))
ids, number, ends = [], 0, time.monotonic() + 900
while sys.stdin.readline().strip() == "run" and time.monotonic() < ends:
    began = time.monotonic()
    run = asked("/backtests", {{"strategy": "sma_cross", "symbol": "SP500", "initial_cash": 1e6 + number}})
    ids.append(run["id"])
    print(json.dumps({{"id": run["id"], "engine": run["engine"], "ms": (time.monotonic() - began) * 1000}}), flush=True)
    number += 1
left = set(ids)
while left and time.monotonic() < ends + 200:
    left -= {{one for one in left if asked("/backtests/" + one)["state"] in ("done", "failed", "cancelled")}}
    time.sleep(0.5)
for one in ids:
    run = asked("/backtests/" + one)
    bars = asked("/backtests/" + one + "/result")["bars"] if run["state"] == "done" else 0
    print(json.dumps({{"ended": one, "engine": run["engine"], "state": run["state"], "bars": bars}}), flush=True)
print(json.dumps(asked("/divergences")), flush=True)
"""
"""The line `run` asks for a run, any other for what became of all."""


class Load:
    """Runs that are asked for one by one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.submitted: list[Any] = []

    def ask(self, count: int = 1) -> list[Any]:
        """Have `count` more runs submitted; what the service answered."""
        assert self._process.stdin is not None and self._process.stdout is not None
        made = []
        for _ in range(count):
            self._process.stdin.write("run\n")
            self._process.stdin.flush()
            made.append(json.loads(self._process.stdout.readline()))
        self.submitted += made
        return made

    def end(self) -> tuple[list[Any], Any]:
        """What became of each run, and of those that both engines did."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("end\n")
        self._process.stdin.flush()
        lines = [json.loads(line) for line in self._process.stdout]
        return lines[:-1], lines[-1]


@contextmanager
def load_of(stack: Stack) -> Iterator[Load]:
    """The load, from within the service's pod: a switch restarts nobody, so it lasts."""
    where = f"deployment/{names.BACKTESTING_NAME}"
    command = ["kubectl", "--namespace", names.NAMESPACE, "exec", "-i", where, "--", "python", "-c", _LOAD]
    with subprocess.Popen(
        command, env=stack.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:  # fmt: skip
        try:
            yield Load(process)
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def no_run_stays(stack: Stack) -> Iterator[None]:
    yield
    remove_runs(stack)


def test_there_and_back_while_runs_are_asked_for_and_a_job_is_killed(backtests: Stack) -> None:
    with load_of(backtests) as load:
        assert {run["engine"] for run in load.ask(2)} == {OLD}
        backtests.bring_to(Stage.SHADOW)
        assert {run["engine"] for run in load.ask(2)} == {OLD}
        Run(backtests, Stage.SCALE, "die", Step.OPEN).await_death()
        assert backtests.route()[0].active == OLD
        assert {run["engine"] for run in load.ask(2)} == {OLD}
        backtests.bring_to(Stage.SCALE)  # compared already, by the run that was killed
        assert settled(backtests.route()[0], Stage.SCALE)
        assert {run["engine"] for run in load.ask(2)} == {NEW}
        backtests.bring_to(Stage.COMPLETE)
        assert {run["engine"] for run in load.ask(2)} == {NEW}
        backtests.bring_to(Stage.SHADOW)
        assert {run["engine"] for run in load.ask(2)} == {OLD}
        backtests.bring_to(Stage.MVP)
        ended, divergences = load.end()
    assert len(ended) == len(load.submitted) == 12
    assert {run["state"] for run in ended} == {"done"}, ended
    assert {run["bars"] for run in ended} == {5031}
    taken = {run["id"]: run["engine"] for run in load.submitted}
    assert {run["ended"]: run["engine"] for run in ended} == taken  # each ended where it began
    assert Counter(taken.values()) == {OLD: 8, NEW: 4}
    assert divergences["compared"] > 0 and divergences["differing"] == 0
