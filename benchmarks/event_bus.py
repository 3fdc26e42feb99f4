"""What the routed bus costs against the bare clients, and what a switch costs: on a real Redis and Kafka on loopback.

Both sides are as durable (appendfsync always; idempotent, acks=all) and carry the same bytes. `make bench
NAME=event_bus` takes all figures, in about a quarter of an hour; `python -m benchmarks event_bus PART ...` some of
them. The first two need the local cluster with the stack on it (`make demo` leaves both), and come first so that
nothing is measured in vain where it is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks import following, growth, mirroring, pause, peers, preview
from benchmarks.frame import Figure
from benchmarks.servers import Servers, servers

PARTS: Mapping[str, Callable[[Servers], list[Figure]]] = {
    "preview": lambda _: preview.run(),
    "route": lambda _: following.figures(),
    "publish": peers.publishing,
    "consume": peers.consuming,
    "mirror": mirroring.figures,
    "pause": lambda running: pause.figures(running.log),
    "memory": growth.figures,
}


def run(parts: Sequence[str] = ()) -> list[Figure]:
    """The figures of `parts`, of all where none is named. Raises KeyError for a part that is not there."""
    wanted = [PARTS[part] for part in parts or PARTS]
    with servers() as running:
        return [figure for part in wanted for figure in part(running)]
