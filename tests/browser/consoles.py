"""Consoles on loopback, for a browser: fakes behind them that a test changes while it looks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn

from adapters.routes.base import RouteMissing, RouteUnavailable, Versioned
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from cli.console.acts import Desk
from cli.console.app import Offer, create
from cli.console.command import LOOPBACK, listen
from cli.console.reader import Reader, Sources, Wanted
from cli.console.runner import MemoryRunner
from cli.console.tokens import Door, Tokens
from cli.moving import planned
from cli.stack import Wish
from contracts.routes import Route
from contracts.stages import Component
from tests.browser.histories import WANTED, announce, moved, routes, told

TOKEN = "a-token-that-nobody-would-guess"
EVERY = 0.05
COPYING = """database: mvp -> shadow
  publish          holds
    37%: 4 of 11 tables, 812,004 rows, 96.2 MB at 3.1 MB/s, 52 s left
"""


class AwayStore(MemoryRouteStore):
    """Routes that cannot be read while `away` says why."""

    away = ""

    def read(self, component: Component) -> Versioned:
        if self.away:
            raise RouteUnavailable(self.away)
        return super().read(component)


def _routes() -> dict[Component, Route]:
    now = datetime.now(UTC)
    return {component: moved(route, now - timedelta(hours=1)) for component, route in routes(now).items()}


@dataclass
class World:
    """A cluster as the console asks it. `output`: what the database's Job has written, while it runs."""

    routes: dict[Component, Route] = field(default_factory=_routes)
    store: AwayStore = field(default_factory=AwayStore)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    log: Any = field(default_factory=lambda: told().log)
    runner: MemoryRunner = field(default_factory=MemoryRunner)
    output: str = ""

    def __post_init__(self) -> None:
        announce(self.registry, self.registry)
        for route in self.routes.values():
            self.store.write(route, self.store.read(route.component).version)

    @property
    def sources(self) -> Sources:
        return Sources(
            lambda: Wanted(WANTED), self.store, self.registry, self.registry, self.log, self._job,
            lambda *_: ("Running", self.output),
        )  # fmt: skip

    def _job(self, component: Component) -> dict[str, Any]:
        if component is not Component.DATABASE or not self.output:
            raise RouteMissing("none")
        container = {"name": "crossover-cutover"}
        return {
            "metadata": {"name": "crossover-database-transition-4"}, "status": {"active": 1},
            "spec": {"template": {"spec": {"containers": [container]}}},
        }  # fmt: skip

    def write(self, route: Route) -> None:
        """Put `route` in the place of its older self."""
        self.store.write(route, self.store.read(route.component).version)

    def steps(self, component: Component, wish: Wish) -> list[str]:
        """What a run would do."""
        return planned(self.store.read(component).route, component, wish, {})

    def desk(self) -> Desk:
        """It does what it is asked for by the fake runner."""
        return Desk(self.runner, self.steps, ["--stack", "live"], "ops@bastion")


@contextlib.contextmanager
def served(world: World, *, acts: bool = False, closed: bool = False) -> Iterator[str]:
    """The console of `world`; its address."""
    reader = Reader(world.sources, "live", every=EVERY, slowly=EVERY)
    door = Door(Tokens({TOKEN: "ann"})) if acts or closed else None
    app = create(reader, Offer(hosts=LOOPBACK, door=door, desk=world.desk() if acts else None, closed=closed))
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    reader.look()
    reader.start()
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
        reader.stop()
    assert not thread.is_alive()
