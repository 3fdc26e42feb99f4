"""What the agent does to PgBouncer, and what it sees of it. One method an action of gate.py."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from adapters import metrics
from adapters.postgres.driver import Address
from adapters.postgres.errors import Unavailable
from adapters.postgres.pooler import AlreadyPaused, Console, PooledDatabase, PoolState, Server
from adapters.postgres.pooler_config import PoolerSettings, points_at, rendered
from contracts.routes import Route
from cutover.pooler.desk import Desk, Memory
from cutover.pooler.gate import NOWHERE, UNKNOWN, Action, Gate, Standing
from cutover.pooler.sides import holders, login_trouble, serving_trouble

_log = logging.getLogger(__name__)
_CUT_SECONDS = 1.5
"""PgBouncer looks for what ran too long three times a second."""


class Trouble(StrEnum):
    """What keeps it from what the route asks for, each told until it is over."""

    CONSOLE = "console"
    FOREIGN = "foreign"
    FENCE = "fence"
    """Why the last fence was not obeyed: until the next one."""
    SIDE = "side"
    ROUTE = "route"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """`pause_seconds`: how long a switch waits for transactions under way. Clients stand still for it, and a cutover
    waits 8 s for the acknowledgement."""

    pool: PoolerSettings
    pause_seconds: float = 3.0


class Acting:
    """`route` gives the newest one. `troubles`: in words. `acknowledged`: the epoch of the last fence behind which
    nothing is written."""

    def __init__(
        self,
        console: Console,
        desk: Desk,
        sides: Mapping[str, Address],
        settings: AgentSettings,
        route: Callable[[], Route | None],
    ) -> None:
        self._console = console
        self._desk = desk
        self._sides = sides
        self._settings = settings
        self._route = route
        self._memory = desk.memory
        self._paused_at = time.monotonic()
        self.troubles: dict[Trouble, str] = {}
        self.acknowledged = 0

    def close(self) -> None:
        """Give up the console."""
        self._console.close()

    # -- looking

    def look(self, route: Route | None, fence: int | None, age: float, sure: bool) -> Standing:
        """How things stand under `route`, whose fence is `age` s old."""
        active = route.active if route is not None else None
        limit, waited = self._settings.pause_seconds, time.monotonic() - self._paused_at
        gate, loaded, drained = self._look()
        if route is not None and route.fence is not None and route.fence.emergency and waited > limit:
            drained = True
        self.troubles.pop(Trouble.FOREIGN, None)
        if gate is Gate.FOREIGN:
            self.troubles[Trouble.FOREIGN] = (
                "PgBouncer was paused by somebody else, who may resume it at any time: no fence is acknowledged, and "
                "it is never resumed by us. RESUME it on its console, then switch again"
            )
        return Standing(
            gate=gate, active=active, loaded=loaded, drained=drained, fence=fence, age=age, sure=sure,
            written=active not in self._sides or self._desk.ini == self._ini(active), refused=self._memory.refused,
            acknowledged=self.acknowledged, noted=self._memory.paused, waited=waited, limit=limit,
        )  # fmt: skip

    def _look(self) -> tuple[Gate, str, bool]:
        try:
            state, entries = self._console.state(), self._console.databases()
            gate = self._gate(state, entries)
            drained = gate is not Gate.HELD or not self._console.active()
        except Unavailable as error:
            self.troubles[Trouble.CONSOLE] = f"PgBouncer's console does not answer: {error}"
            return Gate.AWAY, UNKNOWN, False
        self.troubles.pop(Trouble.CONSOLE, None)
        return gate, self._loaded(entries), drained

    def _gate(self, state: PoolState, entries: Sequence[PooledDatabase]) -> Gate:
        if state is PoolState.PAUSED and self._memory.paused:
            return Gate.HELD
        foreign = state is not PoolState.ACTIVE or any(entry.paused for entry in entries)
        return Gate.FOREIGN if foreign else Gate.OPEN

    def _loaded(self, entries: Sequence[PooledDatabase]) -> str:
        entry = next((entry for entry in entries if entry.name == self._settings.pool.database), None)
        if entry is None:
            return UNKNOWN
        if points_at(entry, None):
            return NOWHERE
        return next((side for side, address in self._sides.items() if points_at(entry, address)), UNKNOWN)

    def _ini(self, side: str | None) -> str:
        return rendered(self._settings.pool, self._sides[side] if side else None)

    # -- acting

    def act(self, action: Action, at: Standing) -> bool:
        """Do it; whether it came off."""
        acts: Mapping[Action, Callable[[Standing], bool]] = {
            Action.PAUSE: self._pause,
            Action.AWAIT: self._await,
            Action.BLOCK: lambda at: self._load(None),
            Action.ACKNOWLEDGE: self._acknowledge,
            Action.GIVE_UP: self._give_up,
            Action.MOVE: self._move,
            Action.POINT: lambda at: self._load(at.active),
            Action.TIDY: self._tidy,
        }
        return acts[action](at)

    def _await(self, at: Standing) -> bool:
        done = self._console.drained(max(at.limit - at.waited, 0.1), lambda: self._fence() != at.fence)
        if not done and self._fence() == at.fence and self._emergency():
            self._console.cut(_CUT_SECONDS)
        return True

    def _emergency(self) -> bool:
        """Whether the side that is left is dead, by the operator's word: what hangs there may hang for ever. Traffic
        may have fled before this agent heard of it."""
        route = self._route()
        return route is not None and (bool(route.stranded) or (route.fence is not None and route.fence.emergency))

    def _acknowledge(self, at: Standing) -> bool:
        self.acknowledged = at.fence or 0
        _log.info("nothing is written any more: epoch %s is acknowledged", at.fence)
        return True

    def _tidy(self, at: Standing) -> bool:
        done = self._load(at.active)
        if done:
            self._remember(paused=False)
        return done

    def _pause(self, at: Standing) -> bool:
        if at.active not in self._sides:
            return self._unknown(at.active)
        again = self._memory.paused and self._memory.epoch == at.fence
        fenced, emergency = at.obeyed, self._emergency()
        if fenced and not again and (trouble := self._other_side_trouble(at.active)):
            return self._refuse(at.fence, f"the other side cannot be served from: {trouble}")
        self.troubles.pop(Trouble.FENCE, None)
        side = at.loaded if at.loaded in self._sides else self._memory.side
        since = self._memory.at if again else time.time()
        self._remember(paused=True, epoch=at.fence or 0, side=side, at=since)
        self._paused_at = time.monotonic()
        holding: list[Server] = []
        try:
            done = self._console.pause(
                at.limit,
                given_up=lambda: fenced and self._fence() != at.fence,
                stay=not fenced or emergency,
                expired=holding.extend,
            )
        except AlreadyPaused:
            # A moment ago it was not: so it is somebody else's.
            self._remember(paused=False)
            return True
        if not done and emergency:
            self._console.cut(_CUT_SECONDS)
        if done or not fenced or emergency:
            return True
        self._remember(paused=False)
        if self._fence() != at.fence:
            _log.info("the fence was undone while transactions were awaited: going on")
            return True
        return self._refuse(at.fence, self._holding(at, holding))

    def _other_side_trouble(self, active: str | None) -> str:
        """Looked for before anybody stands still; and again before anybody is sent there."""
        others = [address for side, address in self._sides.items() if side != active]
        return login_trouble(others[0]) if others else "no address of it is known here"

    def _holding(self, at: Standing, servers: Sequence[Server]) -> str:
        """Asked after it went on: nobody stands still for the answer."""
        who = holders(self._sides[at.loaded], servers) if at.loaded in self._sides else "an unknown transaction"
        return (
            f"transactions did not end within {at.limit:g} s, so the pooler went on at {at.loaded or 'nowhere'}: {who}"
        )

    def _give_up(self, at: Standing) -> bool:
        if at.drained:
            why = f"nobody opened or undid fence {at.fence} within {at.age:.0f} s: the pooler goes on at {at.active}"
        else:
            why = self._holding(at, self._console.active())
        return self._refuse(at.fence, why)

    def _refuse(self, fence: int | None, why: str) -> bool:
        """Obey `fence` no longer, whatever was told of it."""
        self._remember(refused=fence or 0)
        if self.acknowledged == fence:
            self.acknowledged = 0
        self.troubles[Trouble.FENCE] = why
        _log.error("fence %s is not obeyed: %s", fence, why)
        return True

    def _move(self, at: Standing) -> bool:
        side = at.active
        if side is None or side not in self._sides:
            return self._unknown(side)
        # The side that served before is gone back to as it is: nothing better is known, and clients wait.
        trouble = "" if side == self._memory.side else serving_trouble(self._sides[side])
        if trouble:
            return self._held_up(f"PgBouncer stays paused: {side} cannot be served from: {trouble}")
        if not self._load(side):
            return False
        route = self._route()
        if route is None or route.active != side or (route.fence is not None and not self._refused(route)):
            return True  # it changed meanwhile: look again
        self._console.resume()
        paused = time.time() - self._memory.at
        metrics.POOLER_PAUSE_SECONDS.set(paused)
        self._remember(paused=False)
        _log.info("%s serves; the pause was %.0f ms", side, paused * 1000)
        return True

    def _refused(self, route: Route) -> bool:
        return route.fence is not None and route.fence.epoch == self._memory.refused

    def _load(self, side: str | None) -> bool:
        """Write the ini, let PgBouncer read it, and see that it points there."""
        self._desk.ini = self._ini(side)
        self._console.reload()
        if self._loaded(self._console.databases()) != (side or NOWHERE):
            return self._held_up(f"PgBouncer read its file and does not point at {side or 'nowhere'}: see its log")
        self.troubles.pop(Trouble.SIDE, None)
        return True

    def _unknown(self, side: str | None) -> bool:
        return self._held_up(f"the route names {side!r}, of which no address is known here: PgBouncer stays as it is")

    def _held_up(self, why: str) -> bool:
        self.troubles[Trouble.SIDE] = why
        _log.error("%s", why)
        return False

    def _fence(self) -> int | None:
        route = self._route()
        return route.fence.epoch if route is not None and route.fence is not None else None

    def _remember(self, **changed: object) -> None:
        memory: Memory = self._memory.model_copy(update=changed)
        self._desk.memory = memory
        self._memory = memory
