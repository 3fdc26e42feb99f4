"""Reads what services, adapters, mirror, carrier and pooler count, pod by pod, through the API server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.exposition import Sample, UnreadableMetrics, samples
from adapters.routes.base import RouteError, RouteStore, RouteUnavailable
from adapters.routes.resources import ClusterResources, PodFacts
from contracts import names
from contracts.audit import moment
from contracts.stages import Component
from validation.performance.measured import Gathering, Measured

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Read:
    """One read: by pod, its app and what it said. `missed`: by pod, why it said nothing; `unasked`: those of them that
    could not be reached, which says nothing of them: a right may be lacking, or a NetworkPolicy be in the way."""

    found: Mapping[str, tuple[str, Sequence[Sample]]]
    missed: Mapping[str, str]
    unasked: frozenset[str] = frozenset()


def metrics_port(pod: PodFacts) -> int | None:
    """Where `pod` serves metrics; None where it is none of those that do."""
    if pod.app in names.SERVICES:
        return pod.ports.get("http")
    return pod.ports.get("metrics")


def exposing(pods: Sequence[PodFacts]) -> list[tuple[PodFacts, int]]:
    """The pods that serve metrics and are not over, each with its port."""
    ports = [(pod, metrics_port(pod)) for pod in pods if not pod.over]
    return [(pod, port) for pod, port in ports if port is not None]


def read_all(resources: ClusterResources) -> Read:
    """Ask every pod that serves metrics. Raises RouteError where pods cannot be listed."""
    asked = exposing(resources.pods())

    def one(pod: PodFacts, port: int) -> Sequence[Sample] | RouteError | UnreadableMetrics:
        try:
            return samples(resources.metrics(pod.name, port))
        except (RouteError, UnreadableMetrics) as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda each: one(*each), asked))
    told = [(pod, answer) for (pod, _), answer in zip(asked, answers, strict=True)]
    return Read(
        {pod.name: (pod.app, answer) for pod, answer in told if not isinstance(answer, Exception)},
        {pod.name: str(answer) for pod, answer in told if isinstance(answer, Exception)},
        frozenset(pod.name for pod, answer in told if isinstance(answer, RouteUnavailable)),
    )


def watch(
    resources: ClusterResources,
    store: RouteStore,
    stack: str,
    seconds: float,
    every: float,
    say: Callable[[str], None],
    *,
    now: Callable[[], float] = time.monotonic,
    rest: Callable[[float], None] = time.sleep,
) -> Measured:
    """Read every `every` s for `seconds` s; what that comes to. A read that fails is told, and the next one made."""
    gathering, lacking = Gathering(), dict[str, str]()
    began = now()
    reads = max(1, round(seconds / every)) + 1
    for number in range(reads):
        if number:
            rest(max(0.0, began + number * every - now()))
        try:
            read = read_all(resources)
        except RouteError as error:
            lacking["pods"] = str(error)
        else:
            lacking |= read.missed
            gathering.take(read.found, read.missed)
        say(f"read {number + 1} of {reads}, {now() - began:.0f} s of {seconds:.0f}")
    return gathering.measured(stack, moment(datetime.now(UTC)), now() - began, _stages(store), lacking)


def _stages(store: RouteStore) -> dict[str, str]:
    found = {}
    for component in Component:
        try:
            route = store.read(component).route
        except RouteError:
            continue
        if route is not None:
            found[component.value] = route.stage.value
    return found
