"""The agent's threads: one that looks, decides (gate.py) and acts, one that tells the registry how things stand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from adapters import metrics
from adapters.event_bus.gate import FENCE_HOLD_SECONDS
from adapters.event_bus.view import RouteView
from adapters.postgres.driver import Address
from adapters.postgres.errors import PostgresError
from adapters.postgres.pooler import Console
from adapters.routes.base import AdapterRegistry, RouteError, RouteStore
from contracts.registry import RENEW_SECONDS
from contracts.routes import Route
from contracts.stages import Component
from cutover.pooler.acting import Acting, AgentSettings, Trouble
from cutover.pooler.desk import Desk
from cutover.pooler.gate import Action, Gate, Standing, next_action

_log = logging.getLogger(__name__)

ROLE = "pooler"
"""The role under which the agent announces itself; its record's `status` has the keys below."""
STATE, SIDE, TROUBLE = "state", "side", "trouble"
"""STATE: a Gate; SIDE: where PgBouncer points, empty for nowhere; TROUBLE: why it cannot do what the route asks for."""
_TROUBLE_CHARACTERS = 2000
_TICKS = {Gate.OPEN: 1.0, Gate.HELD: 0.1, Gate.FOREIGN: 0.5, Gate.AWAY: 0.2}
"""How soon PgBouncer is looked at again, in seconds; the route's changes wake the agent at once."""
_RETRY_SECONDS = 0.5
_SLOW_SECONDS = 1.0
"""A look or an action that takes longer is told as trouble while it does, and logged after it."""


class PoolerAgent:
    """Follows the route of the database. `run` blocks until `stop`; what it has paused then stays paused, for it may be
    started again, and remembers."""

    def __init__(
        self,
        store: RouteStore,
        registry: AdapterRegistry,
        name: str,
        console: Console,
        desk: Desk,
        sides: Mapping[str, Address],
        settings: AgentSettings,
    ) -> None:
        self._store = store
        self._registry = registry
        self._name = name
        self._view = RouteView(store, Component.DATABASE)
        self._acting = Acting(console, desk, sides, settings, lambda: self._view.current)
        self._desk = desk
        self._fence_seen = (0, 0.0)
        self._sure_of = 0
        self._followed = 0
        self._status: dict[str, str] = {}
        self._said = (0, dict[str, str]())
        self._doing: tuple[str, float] | None = None
        self._wake = threading.Event()
        self._news = threading.Event()
        self._stopped = threading.Event()
        self._heartbeat = threading.Thread(target=self._announce, name="pooler-heartbeat", daemon=True)

    def run(self) -> None:
        """Until stop()."""
        kept = self._desk.route
        if kept is not None:
            self._view.take(kept)
            self._remember_fence()
        self._view.listen(self._on_route)
        self._view.start()
        self._heartbeat.start()
        while not self._stopped.is_set():
            self._wake.clear()
            self._wake.wait(self._turn_safely())
        self._view.stop()
        self._heartbeat.join()
        self._acting.close()

    def stop(self) -> None:
        """End both threads. Its record stays: while the pod is there, no switch may go on without it."""
        self._stopped.set()
        self._wake.set()
        self._news.set()

    def _on_route(self, route: Route) -> None:
        try:
            self._desk.route = route
        except OSError as error:
            _log.warning("the route could not be kept for the next start: %s", error)
        self._wake.set()

    # -- looking, deciding, acting

    def _turn_safely(self) -> float:
        try:
            return self._turn()
        except (PostgresError, OSError) as error:
            _log.warning("%s; trying again", error)
            self._acting.troubles[Trouble.ERROR] = str(error)
        except Exception:
            # An agent that dies while PgBouncer is paused would stop the database.
            _log.exception("the agent failed; trying again")
        self._tell()
        return _RETRY_SECONDS

    def _turn(self) -> float:
        """One look and what follows from it; how long until the next one is due, in seconds."""
        with self._timed("look"):
            at = self._standing()
        action = next_action(at)
        self._notice(at)
        if action is None:
            self._tell()
            return _TICKS[at.gate]
        _log.info("%s, at %s: %s", at.gate.value, at.loaded or "nowhere", action.value)
        looks = action in (Action.LOOK, Action.LAST_LOOK)
        with self._timed(action.value):
            done = self._look_again(at, last=action is Action.LAST_LOOK) if looks else self._acting.act(action, at)
        self._acting.troubles.pop(Trouble.ERROR, None)
        self._tell()
        return 0.0 if done else _RETRY_SECONDS

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        self._doing = what, began
        try:
            yield
        finally:
            self._doing = None
            if (took := time.monotonic() - began) > _SLOW_SECONDS:
                _log.warning("%s took %.1f s", what, took)

    def _standing(self) -> Standing:
        route = self._view.current
        fence = route.fence.epoch if route is not None and route.fence is not None else None
        if fence is not None and self._fence_seen[0] != fence:
            self._fence_seen = fence, time.monotonic()
        age = time.monotonic() - self._fence_seen[1] if fence is not None else 0.0
        return self._acting.look(route, fence, age, self._sure_of == fence)

    def _remember_fence(self) -> None:
        """A fence that the agent before this one paused for is as old as its pause. Told by the wall clock, so only
        at start."""
        memory = self._desk.memory
        if memory.paused and memory.epoch:
            age = min(max(time.time() - memory.at, 0.0), FENCE_HOLD_SECONDS)
            self._fence_seen = memory.epoch, time.monotonic() - age

    def _look_again(self, at: Standing, *, last: bool) -> bool:
        """Read the route itself. Whether that was possible, or the fence was given up for it."""
        try:
            route = self._store.read(Component.DATABASE).route
        except RouteError as error:
            self._acting.troubles[Trouble.ROUTE] = (
                f"fence {at.fence} is {at.age:.0f} s old and held on, for whether it was opened cannot be read: {error}"
            )
            return last and self._acting.act(Action.GIVE_UP, at)
        self._acting.troubles.pop(Trouble.ROUTE, None)
        if route is not None:
            self._view.take(route)
        self._sure_of = at.fence or 0
        return True

    def _notice(self, at: Standing) -> None:
        """What follows from a look, whatever is done next."""
        route = self._view.current
        if at.gate is Gate.OPEN and not at.obeyed and at.loaded == at.active and route is not None:
            self._followed = route.epoch
        metrics.POOLER_PAUSED.set(at.gate is Gate.HELD)
        self._status = {STATE: at.gate.value, SIDE: at.loaded}

    # -- the registry

    def _tell(self) -> None:
        trouble = "; ".join(self._acting.troubles.values())[:_TROUBLE_CHARACTERS]
        said = max(self._acting.acknowledged, self._followed), {**self._status, TROUBLE: trouble}
        if said != self._said:
            self._said = said
            self._news.set()

    def _announce(self) -> None:
        while not self._stopped.is_set():
            self._news.clear()
            epoch, status = self._said
            slow = self._slow()
            pause = RENEW_SECONDS if self._doing is None else _SLOW_SECONDS
            if slow:
                status = {**status, TROUBLE: "; ".join(filter(None, (status.get(TROUBLE), slow)))}
            try:
                self._registry.announce(Component.DATABASE, self._name, ROLE, epoch, status=status)
            except RouteError as error:
                # Data goes on; a switch that needs our answer aborts by itself.
                _log.warning("could not renew the adapter record: %s", error)
                pause = _RETRY_SECONDS
            self._news.wait(pause)

    def _slow(self) -> str:
        """What the other thread hangs in; empty where it does not."""
        doing = self._doing
        took = time.monotonic() - doing[1] if doing else 0.0
        return f"its agent is at '{doing[0]}' for {took:.1f} s" if doing and took > _SLOW_SECONDS else ""
