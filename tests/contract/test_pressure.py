"""More than a consumer or a backend takes: lag is shown, memory is bounded, publishers are held up, nothing is lost."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.event_bus.base import EventLog
from adapters.event_bus.errors import BufferFull, EventTooLarge
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.gate import Gate
from adapters.event_bus.interface import Receipt
from adapters.event_bus.publisher import MAX_OUTSTANDING
from adapters.event_bus.routed import RoutedEventBus
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from cli.status import gather
from contracts.envelope import Event
from contracts.routes import Fence
from contracts.stages import Component, Stage
from tests.contract.bus_servers import KafkaServer, RedisServer
from tests.contract.event_logs import Bench, eventually
from tests.contract.test_journey_on_real_logs import RealWorld, load, migrate, settle

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]

BACKLOG = 50_000
PADDING = b"x" * 300
STEADY = 200
"""Events per second; a burst brings it to ten times that."""
BURST = 5000


class Service:
    """A bus over one real backend, as a service has it. Publishing gives up after 3 s."""

    def __init__(self, bench: Bench) -> None:
        self.topic = bench.topic
        self.store = MemoryRouteStore(fixed_route(bench.name, bench.settings))
        self.registry = MemoryRegistry()
        settings = replace(bench.settings, publish_timeout=3.0)
        self.bus = RoutedEventBus(self.store, lambda name: self._log(bench), settings, "pod.bus", self.registry)

    @staticmethod
    def _log(bench: Bench) -> EventLog:
        return bench.open("trading", publish_timeout=60.0)

    def publish(self, count: int) -> list[Future[Receipt]]:
        return [
            self.bus.publish_future(self.topic, f"k{n % 8}", b"%d %b" % (n, PADDING), type="t") for n in range(count)
        ]

    def fence(self, epoch: int | None) -> None:
        current = self.store.read(Component.EVENT_BUS)
        assert current.route is not None
        fence = Fence(epoch=epoch, since="2026-01-01T00:00:00Z", holder="run") if epoch else None
        self.store.write(current.route.model_copy(update={"fence": fence}), current.version)

    def lag(self) -> int:
        """The lag that `crossover status` shows."""
        wanted = dict.fromkeys(Component, Stage.MVP)
        [row] = [r for r in gather(wanted, self.store, self.registry) if r.component is Component.EVENT_BUS]
        return row.lag.get(f"{self.topic}/slow", 0)


@pytest.fixture
def service(bench: Bench) -> Iterator[Service]:
    made = Service(bench)
    yield made
    made.bus.close(5)


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


real = pytest.mark.parametrize("bench", ["redis", "kafka"], indirect=True)


@real
def test_a_slow_consumer_is_shown_and_grows_nothing(service: Service) -> None:
    for future in service.publish(BACKLOG):
        future.result(60)
    taken: dict[str, int] = {}
    count = 0
    brisk = threading.Event()

    def slowly(events: Sequence[Event]) -> None:
        nonlocal count
        for event in events:
            number = int(event.payload.partition(b" ")[0])
            assert taken.get(event.key, -1) < number
            taken[event.key] = number
        count += len(events)
        brisk.wait(0.2)  # what makes it slow

    subscription = service.bus.subscribe([service.topic], "slow", slowly, max_batch=250)
    eventually(lambda: count > 200, 60.0)
    before = resident_bytes()
    eventually(lambda: service.lag() > BACKLOG // 2, 60.0)
    brisk.set()
    eventually(lambda: count == BACKLOG, 120.0)
    assert subscription.failure is None
    assert resident_bytes() - before < 64 << 20
    eventually(lambda: service.lag() == 0, 30.0)


@real
def test_a_publisher_that_is_held_up_is_told_so_and_what_was_accepted_is_stored_in_order(
    bench: Bench, service: Service
) -> None:
    first = service.publish(1)[0].result(30).event_id
    service.fence(2)
    eventually(lambda: service.bus.gate is Gate.HELD)
    accepted = service.publish(MAX_OUTSTANDING)
    with pytest.raises(BufferFull, match=f"{MAX_OUTSTANDING} events wait .* was not accepted. Slow down"):
        service.publish(1)
    assert not any(future.done() for future in accepted)
    service.fence(None)
    ids = [future.result(60).event_id for future in accepted]
    stored = [entry.event for entry in bench.all() if entry.event is not None and entry.event.id != first]
    assert sorted(event.id for event in stored) == sorted(ids)
    for key in {event.key for event in stored}:
        numbers = [int(event.payload.partition(b" ")[0]) for event in stored if event.key == key]
        assert numbers == sorted(numbers)


@real
def test_an_oversized_event_is_refused_and_what_is_around_it_is_stored(bench: Bench, service: Service) -> None:
    limit = bench.settings.max_event_bytes
    before = service.publish(1)
    with pytest.raises(EventTooLarge, match=rf"the limit is {limit}: it was not sent\. Make the payload smaller"):
        service.bus.publish(service.topic, "k", b"x" * limit)
    after = service.publish(1)
    ids = [future.result(30).event_id for future in (*before, *after)]
    assert [entry.event.id for entry in bench.all() if entry.event is not None] == ids


def test_a_burst_of_ten_times_the_rate_goes_through_a_switch(
    redis_server: RedisServer, kafka_server: KafkaServer
) -> None:
    with RealWorld(redis_server, kafka_server) as world:
        migrate(world, Stage.SHADOW)
        world.subscribe(max_batch=200)
        with load(world, STEADY) as steady:
            burst: list[Future[Receipt]] = []

            def pour() -> None:
                for number in range(BURST):
                    burst.append(world.bus.publish_future(world.topic, "BURST", PADDING))
                    if number % 10 == 9:
                        time.sleep(10 / (9 * STEADY))  # the pace

            thread = threading.Thread(target=pour)
            thread.start()
            migrate(world, Stage.SCALE)
            thread.join()
        world.sent["BURST"] += [future.result(60).event_id for future in burst]
        settle(world, steady)
        assert len(burst) == BURST
