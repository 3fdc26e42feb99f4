"""What the routed bus costs against the bare clients, and what a switch costs: on a real Redis and Kafka on loopback.

Both sides are as durable (appendfsync always; idempotent, acks=all) and carry the same bytes. `make bench
NAME=event_bus` takes all figures, in about a quarter of an hour; with names of PARTS behind it, those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks import following, growth, mirroring, pause, peers
from benchmarks.frame import Figure
from benchmarks.servers import Servers, servers

PARTS: Mapping[str, Callable[[Servers], list[Figure]]] = {
    "publish": peers.publishing,
    "consume": peers.consuming,
    "mirror": mirroring.figures,
    "pause": lambda running: pause.figures(running.log),
    "route": lambda _: following.figures(),
    "memory": growth.figures,
}


def run(parts: Sequence[str] = ()) -> list[Figure]:
    """The figures of `parts`, of all where none is named. Raises KeyError for a part that is not there."""
    wanted = [PARTS[part] for part in parts or PARTS]
    with servers() as running:
        return [figure for part in wanted for figure in part(running)]
