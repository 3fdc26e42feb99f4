"""Watching after a migration: reads at their times, what did not answer, the baseline's file, and exit statuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.routes.base import RouteMissing, RouteUnavailable
from adapters.routes.memory import MemoryRouteStore
from adapters.routes.resources import MemoryResources, PodFacts
from cli import monitor, validating
from cli.__main__ import app
from cli.errors import CliError
from cli.validating import performed
from cli.watching import exposing, metrics_port, read_all, watch
from contracts import names
from contracts.routes import Route
from contracts.stages import Component, Stage
from validation.performance.measured import Measured
from validation.result import Check, Report

ENGINE = PodFacts("engine-1", names.TRADING_ENGINE_NAME, "Running", True, ports={"http": 8000})
MIRROR = PodFacts("mirror-1", names.MIRROR_NAME, "Running", True, ports={"metrics": 9100})
REDIS = PodFacts("redis-0", names.REDIS_NAME, "Running", True, ports={"redis": 6379})


class Counting(MemoryResources):
    """Whose engine answers `each` more requests with every read, each within `edge` s."""

    def __init__(self, each: int = 1000, edge: float = 0.01, failures: int = 0) -> None:
        super().__init__(pods_=[ENGINE, MIRROR, REDIS])
        self.each, self.edge, self.failures = each, edge, failures
        self.reads = 0
        self.broken: set[int] = set()

    def pods(self, *, everywhere: bool = False) -> list[PodFacts]:
        self.reads += 1
        if self.reads in self.broken:
            raise RouteUnavailable("the API server does not answer")
        return [ENGINE, MIRROR, REDIS]

    def metrics(self, pod: str, port: int) -> str:
        if pod == MIRROR.name:
            raise RouteUnavailable("refused")
        assert (pod, port) == (ENGINE.name, 8000)
        count = self.reads * self.each
        edges = "".join(
            f'crossover_http_request_seconds_bucket{{route="/o",le="{edge}"}} {count if edge >= self.edge else 0}\n'
            for edge in (0.005, 0.01, 0.025, 0.05, 0.1)
        )
        return (
            f"# TYPE crossover_http_request_seconds histogram\n{edges}"
            f'crossover_http_request_seconds_bucket{{route="/o",le="+Inf"}} {count}\n'
            f'crossover_http_request_seconds_count{{route="/o"}} {count}\n'
            f'crossover_http_request_seconds_sum{{route="/o"}} {count * self.edge}\n'
            "# TYPE crossover_http_requests_total counter\n"
            f'crossover_http_requests_total{{method="GET",route="/o",status="200"}} {count}\n'
            f'crossover_http_requests_total{{method="GET",route="/o",status="500"}} {self.reads * self.failures}\n'
        )


class Clock:
    """Passes only while somebody rests."""

    def __init__(self) -> None:
        self.at = 100.0
        self.rests: list[float] = []

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.at += seconds


def watched(resources: MemoryResources, seconds: float = 60.0) -> Measured:
    clock = Clock()
    store = MemoryRouteStore()
    at = Route(component=Component.EVENT_BUS, stage=Stage.SCALE, active="kafka", epoch=1)
    store.write(at, store.read(Component.EVENT_BUS).version)
    found = watch(resources, store, "x", seconds, 15.0, lambda _: None, now=lambda: clock.at, rest=clock.rest)
    assert clock.rests == [15.0] * round(seconds / 15)
    return found


def test_only_pods_that_serve_metrics_are_asked_each_at_its_port() -> None:
    assert [(pod.name, port) for pod, port in exposing([ENGINE, MIRROR, REDIS])] == [
        ("engine-1", 8000), ("mirror-1", 9100)
    ]  # fmt: skip
    over = PodFacts("engine-0", names.TRADING_ENGINE_NAME, "Succeeded", False, ports={"http": 8000})
    assert exposing([over]) == []
    assert metrics_port(PodFacts("own-llm", "own-llm-default", "Running", True, ports={"http": 8000})) is None


def test_one_that_does_not_answer_or_speaks_otherwise_is_told() -> None:
    resources = MemoryResources(pods_=[ENGINE, MIRROR], exposed={"engine-1": "<html>", "mirror-1": "a 1\n"})
    read = read_all(resources)
    assert list(read.found) == ["mirror-1"] and "text format" in read.missed["engine-1"]


def test_a_watch_reads_at_its_times_and_goes_on_past_a_read_that_fails() -> None:
    resources = Counting()
    resources.broken = {3}
    found = watched(resources)
    assert (resources.reads, found.reads) == (5, 4)
    assert found.latencies["requests: trading-engine /o"].count == 4000
    assert found.stages == {"event_bus": "scale"}
    assert set(found.lacking) == {"pods", "mirror-1"}


# -- the command


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the watch of the command finds."""
    made: dict[str, Any] = {"resources": Counting()}
    monkeypatch.setattr(monitor, "watch_here", lambda *_: watched(made["resources"], 300.0))
    return made


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["monitor", *words])


def test_a_baseline_is_recorded_and_the_same_is_as_good_and_slower_is_worse(
    cluster: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "baseline.json"
    assert run("--record", str(file)).exit_code == 0
    same = run("--baseline", str(file), "--json")
    assert same.exit_code == 0, same.output
    assert json.loads(same.stdout)["overall"] == "holds"
    cluster["resources"] = Counting(edge=0.1)
    slow = run("--baseline", str(file))
    assert slow.exit_code == 1 and "worse" in slow.stdout
    cluster["resources"] = Counting(failures=100)
    assert run("--baseline", str(file)).exit_code == 1
    cluster["resources"] = Counting(each=0)
    assert run("--baseline", str(file)).exit_code == 2


def test_with_nothing_to_compare_with_figures_are_shown_and_that_is_no_pass(cluster: dict[str, Any]) -> None:
    result = run()
    assert result.exit_code == 2
    assert "requests: trading-engine /o: p50" in result.output and "nothing was compared" in result.output


def test_a_baseline_of_nothing_is_not_written(cluster: dict[str, Any], tmp_path: Path) -> None:
    cluster["resources"] = Counting(each=0)
    result = run("--record", str(tmp_path / "b.json"))
    assert isinstance(result.exception, CliError) and "nothing was measured" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [None, "{}"])
def test_a_baseline_that_cannot_be_read_is_refused_before_anything_is_watched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("watched")

    monkeypatch.setattr(monitor, "watch_here", never)
    monkeypatch.setattr(validating, "connect", never)
    file = tmp_path / "b.json"
    if text is not None:
        file.write_text(text)
    for words in (["monitor", "--baseline", str(file)], ["validate", "--all", "--baseline", str(file)]):
        result = CliRunner().invoke(app, words)
        assert isinstance(result.exception, CliError) and "nothing would be compared" in str(result.exception)


# -- validate --all --baseline


def test_validate_tells_performance_as_one_more_finding() -> None:
    good = Check.that("p95", True, expected="", found="9 ms")
    bad = Check.that("p99", False, expected="", found="90 ms", detail="worse, slower by 900%")
    unknown = Check.unknown("p99", expected="", why="not enough data")

    def found(*checks: Check) -> tuple[str, bool]:
        told = performed(lambda: Report(subject="s", checks=checks))
        return told.verdict, told.holds

    assert found(good) == ("holds", True)
    assert found(good, bad) == ("does not hold", False)
    assert found(good, unknown) == ("could not be checked", False)
    assert found() == ("could not be checked", False)
    assert "p99: 90 ms (worse, slower by 900%)" in performed(lambda: Report(subject="s", checks=(bad,))).detail


def test_a_watch_that_cannot_be_made_could_not_be_checked() -> None:
    def away() -> Report:
        raise RouteMissing("nobody")

    assert performed(away).verdict == "could not be checked"


def test_a_baseline_says_something_of_all_only() -> None:
    result = CliRunner().invoke(app, ["validate", "event_bus", "--baseline", "b.json"])
    assert isinstance(result.exception, CliError) and "--baseline says something of --all" in str(result.exception)
