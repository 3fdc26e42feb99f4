"""The publisher a step at a time, by a clock of the test's: no thread, no waiting."""

from __future__ import annotations

from adapters.event_bus.base import LogSettings
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.gate import FENCE_HOLD_SECONDS, Gate
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_server import MemoryServer
from adapters.event_bus.publisher import Publisher
from contracts.envelope import Event
from contracts.routes import Fence, Route

SETTINGS = LogSettings(topics=("t",), partitions=1)


def fenced(route: Route, epoch: int) -> Route:
    fence = Fence(epoch=epoch, since="2026-01-01T00:00:00Z", holder="run")
    return route.model_copy(update={"epoch": epoch - 1, "fence": fence})


def test_a_fence_is_obeyed_from_its_own_beginning_though_the_one_before_it_was_never_seen_to_end() -> None:
    now = [0.0]
    server = MemoryServer()
    acknowledged: list[int] = []
    publisher = Publisher(
        lambda name: MemoryLog(name, SETTINGS, server),
        SETTINGS,
        "p",
        acknowledged.append,
        clock=lambda: now[0],
        aside=lambda work: None,
    )

    def settle() -> None:
        for _ in range(4):
            publisher.step()

    route = fixed_route("memory", SETTINGS)
    publisher.on_route(fenced(route, 2))
    settle()
    now[0] += FENCE_HOLD_SECONDS - 1
    publisher.on_route(fenced(route, 3))  # the first was undone meanwhile, which the watch passed over
    settle()
    held = publisher.publish(Event.create("t", "k", b"1", source="test"))
    now[0] += 2
    settle()
    assert acknowledged == [2, 3]
    assert publisher.gate is Gate.HELD and not held.done()
    now[0] += FENCE_HOLD_SECONDS
    settle()
    assert held.done()
