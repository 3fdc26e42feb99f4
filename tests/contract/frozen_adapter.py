"""A service in a process of its own: publishes at a steady rate and consumes, and writes down both."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from adapters.event_bus.backends import open_log
from adapters.event_bus.base import LogSettings
from adapters.event_bus.interface import Receipt
from adapters.event_bus.routed import RoutedEventBus
from contracts.envelope import Event
from tests.contract.file_routes import FileRegistry, FileRouteStore

NAME, GROUP, KEY = "frozen.bus", "frozen", "FROZEN"
PACE_SECONDS = 0.005


def main(folder: Path, topic: str) -> None:
    """Until SIGTERM. Lines of `acknowledged` and `taken`: an event's id, and the backend that has it."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = LogSettings(topics=(), partitions=3, publish_timeout=30.0)
    bus = RoutedEventBus(
        FileRouteStore(folder),
        lambda name: open_log(name, settings, os.environ),
        settings,
        NAME,
        FileRegistry(folder),
    )
    with (folder / "acknowledged").open("a", buffering=1) as acknowledged, (folder / "taken").open("a") as taken:

        def note(done: Future[Receipt]) -> None:
            receipt = done.result()
            acknowledged.write(json.dumps([receipt.event_id, receipt.backend]) + "\n")

        def take(events: Sequence[Event]) -> None:
            taken.writelines(json.dumps([event.id, event.key]) + "\n" for event in events)
            taken.flush()

        bus.subscribe([topic], GROUP, take)
        while not stop.wait(PACE_SECONDS):
            bus.publish_future(topic, KEY, b"x" * 200).add_done_callback(note)
        bus.close(30)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
