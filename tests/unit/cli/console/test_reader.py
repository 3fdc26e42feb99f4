"""The one that asks the cluster for the console."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from adapters.routes.audit import MemoryAudit
from adapters.routes.base import RouteUnavailable
from adapters.routes.memory import MemoryRegistry
from cli.console.reader import Reader
from cli.errors import CliError
from contracts.audit import Entry
from contracts.registry import AdapterRecord
from contracts.stages import Component, Stage
from tests.browser.consoles import World
from tests.browser.histories import BUS, DATABASE


class Clock:
    """Seconds that go on only when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def read(world: World, **changes: Any) -> tuple[Reader, Clock]:
    clock = Clock()
    return Reader(replace(world.sources, **changes), "live", clock=clock), clock


def test_what_cannot_be_read_stays_as_it_was_with_why_and_since_when() -> None:
    world = World()
    reader, clock = read(world)
    assert reader.age is None
    reader.look()
    first = reader.picture
    assert reader.age == 0 and first.lost == "" and [one.trouble for one in first.components] == [""] * 4
    world.store.away = "no answer"
    clock.now += 12
    reader.look()
    after = reader.picture
    assert after.lost == "no answer" and reader.age == 12
    assert [one.status for one in after.components] == [one.status for one in first.components]
    assert [one.seen for one in after.components] == [one.seen for one in first.components]
    world.store.away = ""
    reader.look()
    assert reader.picture.lost == "" and reader.age == 0


def test_one_component_that_cannot_be_read_hides_no_other() -> None:
    world = World()

    class Half(MemoryRegistry):
        def records(self, component: Component) -> Sequence[AdapterRecord]:
            if component is DATABASE:
                raise RouteUnavailable("no right")
            return world.registry.records(component)

    reader, _ = read(world, registry=Half())
    reader.look()
    told = {one.status.component: one.trouble for one in reader.picture.components}
    assert told[DATABASE] == "no right" and told[BUS] == "" and reader.picture.lost == ""
    assert reader.age is None  # one was never read


def test_a_config_that_cannot_be_used_is_told_and_the_last_one_stands() -> None:
    world = World()
    asked = iter([world.sources.wanted()])

    def wanted() -> Any:
        if (found := next(asked, None)) is None:
            raise CliError("Pulumi.live.yaml, line 3, cannot be read")
        return found

    reader, _ = read(world, wanted=wanted)
    reader.look()
    reader.look()
    assert reader.picture.troubles == ("config: Pulumi.live.yaml, line 3, cannot be read",)
    assert reader.picture.components[0].status.wanted is Stage.SCALE


def test_the_log_and_the_runs_are_asked_less_often() -> None:
    world = World(output="    5%: x\n")
    asked: list[str] = []
    said = world.sources.said

    def telling(job: str, container: str) -> tuple[str, str]:
        asked.append(f"{job} {container}")
        return said(job, container)

    reader, clock = read(world, said=telling)
    for _ in range(4):
        reader.look()
        clock.now += 2
    assert asked == ["crossover-database-transition-4 crossover-cutover"] * 2
    runs = {one.status.component: one.run for one in reader.picture.components}
    assert (run := runs[DATABASE]) is not None and run.share == 5 and runs[BUS] is None
    world.output = ""
    clock.now += 10
    reader.look()
    reader.look()
    assert [one.run for one in reader.picture.components] == [None] * 4


def test_what_cannot_be_had_beside_the_routes_is_told_and_the_last_of_it_stands() -> None:
    world = World()
    reader, clock = read(world)
    reader.look()
    lines = reader.picture.log
    assert len(lines) == 28 and lines[0].at > lines[-1].at  # the newest first

    class Away(MemoryAudit):
        def latest(self) -> Iterator[Entry]:
            raise RouteUnavailable("no right to read it")

    reader._sources = replace(world.sources, log=Away(), job=away)
    clock.now += 10
    reader.look()
    assert reader.picture.log == lines
    assert reader.picture.troubles[0] == "audit log: no right to read it"
    assert "Transition of database: no answer" in reader.picture.troubles
    assert reader.picture.lost == ""


def away(component: Component) -> Any:
    raise RouteUnavailable("no answer")


def test_lag_that_gets_less_tells_how_long_it_takes() -> None:
    world = World()
    reader, clock = read(world)
    for left in (1000, 800, 600):
        world.registry.announce(BUS, "trading-engine-0", "bus", 3, {"market_data/engine": left})
        reader.look()
        clock.now += 1
    assert reader.picture.components[0].paces == ("market_data/engine: in step in 3 s at this pace",)


def test_a_cluster_that_does_not_answer_is_asked_for_routes_alone() -> None:
    world = World()
    asked: list[Component] = []

    def job(component: Component) -> Any:
        asked.append(component)
        raise RouteUnavailable("no answer")

    reader, _ = read(world, job=job)
    world.store.away = "no answer"
    reader.look()
    assert asked == [] and reader.picture.lost == "no answer"
    world.store.away = ""
    reader.look()
    assert set(asked) == set(Component) and reader.picture.lost == ""


def test_a_defect_is_shown_and_ends_nothing() -> None:
    world = World()
    reader, _ = read(world)
    reader.look()

    def broken(component: Component) -> Any:
        raise KeyError("metadata")

    reader._sources = replace(world.sources, job=broken)
    reader._looked_slowly = None
    reader.look()
    assert reader.picture.troubles == ("KeyError: 'metadata'",)
    assert reader.picture.components[0].status.active is Stage.SCALE


def test_it_asks_by_itself_until_it_is_stopped() -> None:
    world, asked, twice = World(), 0, threading.Event()
    wanted = world.sources.wanted

    def counted() -> Any:
        nonlocal asked
        asked += 1
        if asked >= 3:
            twice.set()
        return wanted()

    reader = Reader(replace(world.sources, wanted=counted), "live", every=0.001)
    reader.start()
    assert twice.wait(10)
    reader.stop()
    assert not reader._thread.is_alive()
