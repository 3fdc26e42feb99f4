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
CARRIED = Counter("crossover_database_carried_total", "Changes applied at the other side.", ["source"])
CARRIED_BEHIND = Gauge("crossover_database_behind_seconds", "Age of the oldest commit not yet applied.", ["source"])
CARRIED_LAG = Gauge("crossover_database_lag_bytes", "WAL written since what the other side confirmed.", ["source"])
CARRIED_SAFE = Gauge("crossover_database_slot_safe_bytes", "WAL to be written until the slot is lost.", ["source"])
CARRIED_HELD = Gauge(
    "crossover_database_held_transactions", "Transactions that the route does not let through.", ["source"]
)
UNFOLLOWED = Gauge(
    "crossover_database_unfollowed_tables", "Tables of the side that serves whose rows are not carried.", ["source"]
)
CARRIER_FAILED = Counter("crossover_database_carrier_failed_total", "Streams that ended.", ["source", "error"])
CARRIER_UP = Gauge("crossover_database_carrier_up", "1 while the stream is read.", ["source"])
LLM_CONNECT_WAITING = Gauge("crossover_llm_connect_waiting", "Calls that wait for their turn to connect to a side.")


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
