"""What a while of the services' metrics comes to: latencies as histograms, shares of failures, levels. Pure.

Counters are taken as what they grew by, pod by pod. One that fell began anew: its pod was restarted, and all that it
says now was counted since.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.exposition import Sample

VERSION = 1
_UNASKED = frozenset({"/healthz", "/readyz", "/metrics", "/version"})
"""Routes that only machines ask."""
_APP = "app"


@dataclass(frozen=True, slots=True)
class Latency:
    """A histogram in seconds, kept apart by the labels `by`; `app` is the service's."""

    name: str
    metric: str
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of what is counted failed. `of`: the counters of all; `bad`: those, or the labels, of failures."""

    name: str
    of: tuple[str, ...]
    bad: Callable[[Sample], bool]
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """A gauge, of which the highest counts. `floor`: so much is nothing, in its unit."""

    name: str
    metric: str
    unit: str
    floor: float


LATENCIES = (
    Latency("requests", "crossover_http_request_seconds", (_APP, "route")),
    Latency("publishing", "crossover_bus_publish_seconds", ("topic",)),
    Latency("engine batches", "crossover_engine_batch_seconds"),
    Latency("first byte of models", "crossover_llm_first_byte_seconds", ("alias",)),
    Latency("backtests", "crossover_backtest_seconds"),
)


def _named(name: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.name == name


SHARES = (
    Share(
        "requests failed", ("crossover_http_requests_total",), lambda one: one.labels.get("status", "")[:1] == "5",
        (_APP,),
    ),
    Share(
        "events not published", ("crossover_bus_published_total", "crossover_bus_publish_failed_total"),
        _named("crossover_bus_publish_failed_total"), ("topic",),
    ),
    Share(
        "events set aside", ("crossover_bus_consumed_total", "crossover_bus_dead_lettered_total"),
        _named("crossover_bus_dead_lettered_total"), ("topic",),
    ),
    Share(
        "outbox events tried again", ("crossover_engine_outbox_sent_total", "crossover_engine_outbox_failed_total"),
        _named("crossover_engine_outbox_failed_total"),
    ),
    Share(
        "chat requests failed", ("crossover_llm_requests_total",),
        lambda one: one.labels.get("outcome") not in ("ok", "abandoned"), ("alias",),
    ),
    Share("backtests failed", ("crossover_backtests_total",), lambda one: one.labels.get("state") == "failed"),
)  # fmt: skip
LEVELS = (
    Level("events that a group has not read", "crossover_bus_lag_events", "events", 1000),
    Level("events in the outbox", "crossover_engine_outbox_waiting", "events", 100),
    Level("the other side behind", "crossover_database_behind_seconds", "s", 5),
    Level("WAL for the other side", "crossover_database_lag_bytes", "bytes", 16 << 20),
    Level("questions that wait", "crossover_llm_queued", "calls", 5),
)


class UnreadableBaseline(ValueError):
    """A file that holds nothing measured that this version can read."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(_Frozen):
    """A histogram: how many took at most each of `edges` (seconds, rising), and how many there were."""

    edges: tuple[float, ...]
    at_most: tuple[float, ...]
    count: float

    def quantile(self, share: float) -> float:
        """What `share` of them took at most, as Prometheus interpolates it; infinite beyond the last edge."""
        wanted, before, low = share * self.count, 0.0, 0.0
        for edge, count in zip(self.edges, self.at_most, strict=True):
            if count >= wanted and count > before:
                return low + (edge - low) * (wanted - before) / (count - before)
            low, before = edge, count
        return math.inf

    def slower(self, limit: float) -> float | None:
        """How many took longer than `limit` s, interpolated as quantiles are; None where it is beyond the last edge."""
        before, low = 0.0, 0.0
        for edge, count in zip(self.edges, self.at_most, strict=True):
            if edge >= limit:
                return self.count - before - (count - before) * (limit - low) / (edge - low)
            low, before = edge, count
        return None


class Part(_Frozen):
    """How many failed, of how many."""

    bad: float
    of: float


class Heights(_Frozen):
    """A level over the reads: its median and its highest."""

    median: float
    most: float
    reads: int


class Measured(_Frozen):
    """What was measured, by name. `at`: when it ended, RFC 3339 UTC; `stages`: where components stood, by component;
    `lacking`: what could not be read, and why, last."""

    version: int = VERSION
    stack: str
    at: str
    seconds: float
    reads: int
    stages: dict[str, str] = Field(default_factory=dict)
    latencies: dict[str, Spread] = Field(default_factory=dict)
    shares: dict[str, Part] = Field(default_factory=dict)
    levels: dict[str, Heights] = Field(default_factory=dict)
    lacking: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Self:
        """What model_dump_json wrote. Raises UnreadableBaseline."""
        try:
            found = cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the whole"
            raise UnreadableBaseline(f"{where}: {problem['msg']}") from None
        if found.version != VERSION:
            raise UnreadableBaseline(f"it is of version {found.version}, and this program reads {VERSION}")
        return found


type _Key = tuple[str, frozenset[tuple[str, str]]]


class Gathering:
    """Reads, one after another; the first only says where counters stood."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, _Key], float] = {}
        self._grown: dict[_Key, float] = {}
        self._levels: dict[str, list[float]] = {}
        self._known: set[str] = set()
        self._missed: set[str] = set()
        self._reads = 0

    def take(self, read: Mapping[str, tuple[str, Sequence[Sample]]], missed: Collection[str] = ()) -> None:
        """Take one read: by pod, its app and its samples; `missed`: the pods that did not answer. One that is new
        counted all since the read before; one that was missed, nobody knows since when."""
        highest: dict[str, float] = {}
        for pod, (app, found) in read.items():
            begins = pod not in self._known and (self._reads == 0 or pod in self._missed)
            for sample in found:
                if sample.name in _COUNTED and sample.labels.get("route") not in _UNASKED:
                    key = (sample.name, frozenset({**sample.labels, _APP: app}.items()))
                    self._grow((pod, key), sample.value, begins=begins)
                elif sample.name in _LEVELLED and math.isfinite(sample.value):
                    highest[sample.name] = max(highest.get(sample.name, -math.inf), sample.value)
        for name, value in highest.items():
            self._levels.setdefault(name, []).append(value)
        self._known |= set(read)
        self._missed |= set(missed)
        self._reads += 1

    def _grow(self, at: tuple[str, _Key], value: float, *, begins: bool) -> None:
        before = self._last.get(at)
        self._last[at] = value
        if begins:
            return
        grown = value - before if before is not None and value >= before else value
        self._grown[at[1]] = self._grown.get(at[1], 0.0) + grown

    def measured(
        self, stack: str, at: str, seconds: float, stages: Mapping[str, str], lacking: Mapping[str, str]
    ) -> Measured:
        """What all reads come to."""
        grown = [Sample(name, dict(labels), value) for (name, labels), value in self._grown.items()]
        return Measured(
            stack=stack, at=at, seconds=round(seconds, 1), reads=self._reads,
            stages=dict(stages), lacking=dict(lacking),
            latencies={name: spread for one in LATENCIES for name, spread in _spreads(one, grown)},
            shares={name: part for one in SHARES for name, part in _parts(one, grown)},
            levels={
                one.name: Heights(median=median(values), most=max(values), reads=len(values))
                for one in LEVELS if (values := self._levels.get(one.metric))
            },
        )  # fmt: skip


_COUNTED = frozenset(
    [f"{one.metric}{suffix}" for one in LATENCIES for suffix in ("_bucket", "_count")]
    + [metric for one in SHARES for metric in one.of]
)
_LEVELLED = frozenset(one.metric for one in LEVELS)


def _spreads(one: Latency, grown: Iterable[Sample]) -> Iterable[tuple[str, Spread]]:
    buckets: dict[str, dict[float, float]] = {}
    for sample in grown:
        if sample.name == f"{one.metric}_bucket":
            at = buckets.setdefault(_title(one.name, one.by, sample.labels), {})
            edge = float(sample.labels["le"])
            at[edge] = at.get(edge, 0.0) + sample.value
    for name, found in sorted(buckets.items()):
        edges = tuple(sorted(edge for edge in found if math.isfinite(edge)))
        if count := found.get(math.inf, 0.0):
            yield name, Spread(edges=edges, at_most=tuple(found[edge] for edge in edges), count=count)


def _parts(one: Share, grown: Iterable[Sample]) -> Iterable[tuple[str, Part]]:
    found: dict[str, tuple[float, float]] = {}
    for sample in grown:
        if sample.name in one.of:
            name = _title(one.name, one.by, sample.labels)
            bad, of = found.get(name, (0.0, 0.0))
            found[name] = (bad + (sample.value if one.bad(sample) else 0.0), of + sample.value)
    for name, (bad, of) in sorted(found.items()):
        if of:
            yield name, Part(bad=bad, of=of)


def _title(name: str, by: Sequence[str], labels: Mapping[str, str]) -> str:
    told = " ".join(labels.get(label, "") for label in by)
    return f"{name}: {told}" if told else name
