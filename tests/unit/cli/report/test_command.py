"""`crossover report`: what is asked for it, and what is written where some of that is not to be had."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.routes.audit import MemoryAudit
from adapters.routes.base import RouteMissing, RouteUnavailable
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from cli.__main__ import app
from cli.errors import CliError
from cli.report.gathering import Sources, last_run, versions
from contracts.audit import Kind
from contracts.stages import Component, Stage
from tests.unit.cli.report.migrations import BUS, route
from tests.unit.cli.report.test_model import DEMO

REPORT = {
    "version": 1, "component": "event_bus", "wanted": "scale", "stage": "scale", "verdict": "holds", "message": "",
    "unaudited": "",
    "steps": [{"transition": "a -> b", "step": "fence", "outcome": "holds", "seconds": 0.1, "items": []}],
}  # fmt: skip
OUTPUT = f"event_bus: shadow -> scale\n  fence holds\n{json.dumps(REPORT)}\n"


def job(component: Component) -> dict[str, Any]:
    if component is not BUS:
        raise RouteMissing("no Transition here")
    container = {"name": "crossover-cutover", "image": "workload:1"}
    return {"metadata": {"name": "t-1"}, "spec": {"template": {"spec": {"containers": [container]}}}}


def sources(**changes: Any) -> Sources:
    store = MemoryRouteStore()
    store.write(route(Stage.SCALE), store.read(BUS).version)
    registry, log = MemoryRegistry(), MemoryAudit()
    log.append(Kind.CONFIG, "event_bus", "ann@desk", {"from": "mvp", "to": "scale"})
    made = Sources(store, registry, registry, log, job, lambda *_: ("Succeeded", OUTPUT), lambda: "v1.36.3")
    return replace(made, **changes)


def away(*_: Any) -> Any:
    raise RouteUnavailable("the API server does not answer")


def test_the_last_runs_report_is_that_of_its_pod() -> None:
    found = last_run(sources(), BUS)
    assert (found.job, found.image, found.verdict) == ("t-1", "workload:1", "holds")
    assert [(step.step, step.seconds) for step in found.steps] == [("fence", 0.1)]
    assert last_run(sources(), Component.DATABASE).job == ""


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"job": away}, "its Transition could not be asked for"),
        ({"said": away}, "the report of t-1 is not there any more"),
        ({"said": lambda *_: ("Failed", "a traceback\n")}, "the report of t-1 is not there any more"),
        ({"said": lambda *_: ("Running", "fence\n")}, ""),
    ],
)
def test_a_run_that_tells_nothing_is_told_as_that(changes: dict[str, Any], problem: str) -> None:
    found = last_run(sources(**changes), BUS)
    assert found.verdict == "" and found.problem.startswith(problem) and bool(found.problem) is bool(problem)


def test_versions_that_are_not_known_are_told_as_that(tmp_path: Path) -> None:
    found = versions(tmp_path, {"PATH": ""})
    assert found["crossover"] == "unknown" and found["Pulumi"].startswith("unknown: there is no pulumi")
    assert versions(Path(__file__).parents[4], {})["crossover"][0].isdigit()


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command on what `sources` gives, with changes."""
    monkeypatch.setattr("cli.stack.Stack.config", lambda *_: {"event_bus": {"stage": "scale"}})
    monkeypatch.chdir(tmp_path)

    def call(*words: str, **changes: Any) -> tuple[int, str]:
        monkeypatch.setattr(Sources, "connected", lambda *_: sources(**changes))
        result = CliRunner().invoke(app, ["report", *words])
        if isinstance(result.exception, CliError):
            return 2, str(result.exception)
        return result.exit_code, result.output

    return call


def test_a_page_is_written_and_its_digest_told(run: Run, tmp_path: Path) -> None:
    code, told = run("--out", "page.html", "event_bus")
    assert code == 0, told
    text = (tmp_path / "page.html").read_text()
    digest = told.split()[-1]
    assert len(digest) == 64 and digest in text
    assert "v1.36.3" in text and "Database" not in text and "Event bus" in text


def test_the_demonstrations_figures_come_with_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text(json.dumps(DEMO))
    assert run("--demo", "demo.json")[0] == 0
    assert "Measured under load" in (tmp_path / "report.html").read_text()
    assert run("--demo", "none.json")[0] == 2


def test_what_is_missing_is_told_by_the_exit_status_and_the_rest_is_written(run: Run, tmp_path: Path) -> None:
    broken = MemoryAudit()
    broken._segments.create(1, "torn\n")
    code, told = run(log=broken)
    assert code == 1 and "audit log: BROKEN at entry 1" in told
    code, told = run(said=away, kubernetes=away)
    assert code == 1 and "the report of t-1 is not there any more" in told
    assert "unknown" in (tmp_path / "report.html").read_text()


def test_a_folder_that_is_not_there_is_refused_before_anything_is_asked(run: Run) -> None:
    assert run("--out", "nowhere/page.html")[0] == 2
