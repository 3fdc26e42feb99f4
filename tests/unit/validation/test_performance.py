"""What metrics come to over a while, and when that is as good as a baseline, worse, or too little to say."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

import adapters.metrics  # noqa: F401 - it fills the registry
import services.common.metrics  # noqa: F401 - so does this
from adapters.exposition import UnreadableMetrics, samples
from validation.performance import comparing
from validation.performance.comparing import compare
from validation.performance.measured import (
    LATENCIES,
    LEVELS,
    SHARES,
    Gathering,
    Heights,
    Measured,
    Part,
    Spread,
    UnreadableBaseline,
)
from validation.result import Check, Verdict, combine

EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
HOLDS, WORSE, LITTLE = Verdict.HOLDS, Verdict.DOES_NOT_HOLD, Verdict.COULD_NOT_CHECK


class Pod:
    """Counts as a service does."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kept = {"registry": self.registry}
        self.requests = Counter("crossover_http_requests_total", "r", ["method", "route", "status"], **kept)  # type: ignore[arg-type]
        self.seconds = Histogram("crossover_http_request_seconds", "s", ["route"], buckets=EDGES, **kept)  # type: ignore[arg-type]
        self.lag = Gauge("crossover_bus_lag_events", "l", ["topic", "group"], **kept)  # type: ignore[arg-type]

    def answer(self, seconds: float, status: str = "200", route: str = "/orders") -> None:
        self.requests.labels("GET", route, status).inc()
        self.seconds.labels(route).observe(seconds)

    @property
    def says(self) -> tuple[str, list[object]]:
        return "engine", samples(generate_latest(self.registry).decode())  # type: ignore[return-value]


def took(*reads: dict[str, Pod]) -> Gathering:
    made = Gathering()
    for read in reads:
        made.take({name: pod.says for name, pod in read.items()})  # type: ignore[misc]
    return made


def end(gathering: Gathering) -> Measured:
    return gathering.measured("x", "2026-05-01T12:00:00Z", 60.0, {"event_bus": "mvp"}, {})


def test_every_metric_that_is_read_is_there_with_its_labels() -> None:
    made = {
        getattr(collector, "_name", ""): {*getattr(collector, "_labelnames", ()), "app"}
        for collector in set(REGISTRY._collector_to_names)
    }
    asked = [(one.metric, one.by) for one in LATENCIES] + [(one.metric, ()) for one in LEVELS]
    asked += [(re.sub("_total$", "", metric), one.by) for one in SHARES for metric in one.of]
    assert [(metric, by) for metric, by in asked if not set(by) <= made.get(metric, set())] == []


def test_what_counters_grew_by_is_what_counts() -> None:
    pod = Pod()
    for _ in range(50):
        pod.answer(1.0)
    gathering = took({"a": pod})
    for seconds in (0.004, 0.02, 0.02, 0.2):
        pod.answer(seconds)
    pod.answer(0.004, route="/readyz")
    pod.answer(0.004, "503")
    gathering.take({"a": pod.says})  # type: ignore[dict-item]
    found = end(gathering)
    spread = found.latencies["requests: engine /orders"]
    assert (spread.count, spread.at_most) == (5.0, (2.0, 2.0, 4.0, 4.0, 4.0, 5.0))
    assert spread.slower(0.05) == 1.0 and spread.quantile(0.5) == pytest.approx(0.01 + 0.015 * 0.25)
    assert spread.slower(0.0175) == pytest.approx(2.0) and spread.slower(0.3) is None
    assert found.shares["requests failed: engine"] == Part(bad=1, of=5)
    assert list(found.latencies) == ["requests: engine /orders"]


def test_a_pod_that_is_new_or_begins_anew_counts_whole_and_one_that_was_missed_does_not() -> None:
    old, new, silent = Pod(), Pod(), Pod()
    for pod, count in ((old, 9), (new, 3), (silent, 5)):
        for _ in range(count):
            pod.answer(0.004)
    gathering = Gathering()
    gathering.take({"old": old.says}, ["silent"])  # type: ignore[dict-item]
    anew = Pod()
    anew.answer(0.004)
    gathering.take({"old": anew.says, "new": new.says, "silent": silent.says})  # type: ignore[dict-item]
    assert end(gathering).latencies["requests: engine /orders"].count == 4
    silent.answer(0.004)
    gathering.take({"silent": silent.says})  # type: ignore[dict-item]
    assert end(gathering).latencies["requests: engine /orders"].count == 5


def test_of_a_level_the_furthest_behind_counts() -> None:
    a, b = Pod(), Pod()
    gathering = Gathering()
    for height in (10, 500, 20):
        a.lag.labels("t", "g").set(height)
        b.lag.labels("t", "h").set(5)
        gathering.take({"a": a.says, "b": b.says})  # type: ignore[dict-item]
    found = end(gathering)
    assert found.levels["events that a group has not read"] == Heights(median=20, most=500, reads=3)
    assert Measured.read(found.model_dump_json()) == found


@pytest.mark.parametrize("text", ["", "{}", "[1", '{"version": 1, "stack": "x"}'])
def test_a_file_that_is_no_baseline_is_said_to_be_none(text: str) -> None:
    with pytest.raises(UnreadableBaseline):
        Measured.read(text)
    newer = end(Gathering()).model_copy(update={"version": 2}).model_dump_json()
    with pytest.raises(UnreadableBaseline, match="version 2"):
        Measured.read(newer)


def test_what_is_no_metrics_is_said_to_be_none() -> None:
    with pytest.raises(UnreadableMetrics):
        samples("<html>a login page</html>")


# -- against a baseline


def measured(
    seconds: Sequence[float] = (), *, part: tuple[float, float] | None = None, lag: float | None = None
) -> Measured:
    spread = Spread(
        edges=EDGES, at_most=tuple(float(sum(one <= edge for one in seconds)) for edge in EDGES), count=len(seconds)
    )
    return end(Gathering()).model_copy(
        update={
            "latencies": {"requests": spread} if seconds else {},
            "shares": {"failed": Part(bad=part[0], of=part[1])} if part else {},
            "levels": {LEVELS[0].name: Heights(median=lag, most=lag, reads=20)} if lag is not None else {},
        }
    )


def drawn(count: int, middle: float, seed: int = 7) -> list[float]:
    """Latencies as they come: most near `middle`, a tail behind it."""
    dice = random.Random(seed)
    return [middle * math.exp(dice.gauss(0, 0.4)) for _ in range(count)]


def outcomes(found: Sequence[Check]) -> dict[str, Verdict]:
    assert all(check.fix for check in found if not check.outcome.passed)
    return {check.name.partition(": ")[2]: check.outcome for check in found}


def test_the_same_again_is_as_good_and_three_times_as_slow_is_not() -> None:
    before = measured(drawn(5000, 0.008))
    same = compare(before, measured(drawn(5000, 0.008, seed=8)))
    assert outcomes(same) == dict.fromkeys(["p50", "p95", "p99"], HOLDS)
    slow = compare(before, measured(drawn(5000, 0.024)))
    assert outcomes(slow) == dict.fromkeys(["p50", "p95", "p99"], WORSE)
    assert "worse, slower by" in slow[0].detail


def test_a_tail_alone_that_grew_is_told_as_that() -> None:
    tail = drawn(5000, 0.008)[:4900] + [0.2] * 100
    assert outcomes(compare(measured(drawn(5000, 0.008)), measured(tail))) == {
        "p50": HOLDS, "p95": HOLDS, "p99": WORSE
    }  # fmt: skip


def test_few_requests_prove_nothing() -> None:
    before = measured(drawn(5000, 0.008))
    few = compare(before, measured(drawn(12, 0.008)))
    assert outcomes(few)["p99"] is LITTLE
    assert "not enough data" in few[-1].detail
    assert outcomes(compare(before, measured())) == dict.fromkeys(["p50", "p95", "p99"], LITTLE)


def test_what_the_baseline_has_too_little_of_is_not_asked_and_nothing_asked_is_no_pass() -> None:
    assert list(outcomes(compare(measured(drawn(500, 0.008)), measured(drawn(5000, 0.008))))) == ["p50", "p95"]
    assert combine(check.outcome for check in compare(measured(drawn(20, 0.008)), measured(drawn(500, 0.1)))) is LITTLE


def test_beyond_the_last_bucket_nothing_can_be_told() -> None:
    found = compare(measured([0.3] * 5000), measured([0.3] * 5000))
    assert {check.outcome for check in found} == {LITTLE}
    assert math.isinf(measured([0.3] * 10).latencies["requests"].quantile(0.5))


@pytest.mark.parametrize(
    ("before", "now", "answer"),
    [
        ((0, 5000), (0, 5000), HOLDS),
        ((0, 5000), (10, 5000), HOLDS),
        ((0, 5000), (60, 5000), WORSE),
        ((500, 5000), (600, 5000), HOLDS),
        ((500, 5000), (1000, 5000), WORSE),
        ((0, 5000), (1, 100), LITTLE),
        ((0, 5000), None, LITTLE),
        ((0, 100), (90, 100), None),
    ],
)
def test_a_share_of_failures_may_grow_by_its_margin(
    before: tuple[float, float], now: tuple[float, float] | None, answer: Verdict | None
) -> None:
    found = compare(measured(part=before), measured(part=now))
    assert [check.outcome for check in found] == ([] if answer is None else [answer])


@pytest.mark.parametrize(("now", "answer"), [(400, HOLDS), (1399, HOLDS), (1401, WORSE)])
def test_a_lag_may_grow_to_its_floor_or_twice(now: float, answer: Verdict) -> None:
    assert [check.outcome for check in compare(measured(lag=400), measured(lag=now))] == [answer]
    assert [check.outcome for check in compare(measured(lag=5000), measured(lag=now))] == [HOLDS]
    assert [check.outcome for check in compare(measured(), measured(lag=now))] == [
        HOLDS if now <= LEVELS[0].floor else WORSE
    ]
    assert [check.outcome for check in compare(measured(lag=400), measured())] == [LITTLE]


def test_the_same_load_is_hardly_ever_called_worse() -> None:
    """Of 100 watches of the same kind none is: only at the very edge of a margin may one in 20 be."""
    before = measured(drawn(5000, 0.02, seed=1))
    again = [compare(before, measured(drawn(3000, 0.02, seed=seed))) for seed in range(2, 102)]
    assert not [check for found in again for check in found if check.outcome is WORSE]
    assert comparing.CONFIDENCE == 0.95
