"""The metrics of the adapters. The one module that imports `prometheus_client` for them."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram, start_http_server

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

PUBLISHED = Counter("crossover_bus_published_total", "Events durable, by topic and backend.", ["topic", "backend"])
PUBLISH_FAILED = Counter("crossover_bus_publish_failed_total", "Events whose caller saw an error.", ["topic", "error"])
PUBLISH_SECONDS = Histogram(
    "crossover_bus_publish_seconds",
    "From publish to durable, held included; of a batch: by parcel.",
    ["topic"],
    buckets=_BUCKETS,
)
HELD = Gauge("crossover_bus_held_events", "Events held back by a fence.")
CONSUMED = Counter("crossover_bus_consumed_total", "Events acknowledged.", ["topic", "group", "backend"])
HANDLER_FAILED = Counter("crossover_bus_handler_failed_total", "Batches whose handler raised.", ["topic", "group"])
DEAD_LETTERED = Counter("crossover_bus_dead_lettered_total", "Events set aside.", ["topic", "group"])
EPOCH = Gauge("crossover_bus_epoch", "The route's epoch that this adapter follows.")
LAG = Gauge("crossover_bus_lag_events", "Events not yet acknowledged by a group.", ["topic", "group"])
MIRRORED = Counter("crossover_bus_mirrored_total", "Events copied by the mirror.", ["topic", "source"])
POOLER_PAUSED = Gauge("crossover_pooler_paused", "1 while the database's pooler is paused by a switch.")
POOLER_PAUSE_SECONDS = Gauge("crossover_pooler_last_pause_seconds", "How long the last pause of the pooler was.")


@cache
def published(topic: str, backend: str) -> Counter:
    """PUBLISHED with its labels: looked up once, for it is counted with every event."""
    return PUBLISHED.labels(topic, backend)


@cache
def publish_seconds(topic: str) -> Histogram:
    """PUBLISH_SECONDS with its label."""
    return PUBLISH_SECONDS.labels(topic)


@cache
def consumed(topic: str, group: str, backend: str) -> Counter:
    """CONSUMED with its labels."""
    return CONSUMED.labels(topic, group, backend)


def serve(port: int) -> None:
    """Serve the metrics over HTTP on `port`, on a thread of its own."""
    start_http_server(port)
