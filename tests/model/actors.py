"""The processes of the model, each a step at a time: the product's classes without their threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from adapters.event_bus.base import Stored
from adapters.event_bus.bookmarks import Bookmarks
from adapters.event_bus.chain_reader import ChainReader, Turn
from adapters.event_bus.errors import BusClosed, EventBusError
from adapters.event_bus.interface import Receipt
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.publisher import Publisher
from adapters.event_bus.view import RouteView
from contracts.envelope import Event
from contracts.registry import Tail
from contracts.routes import Mirror, Route
from contracts.stages import Component
from cutover.mirror.service import Copying, CopySession, copyings
from tests.model.ledger import Sent, Session
from tests.model.wire import SETTINGS, TOPIC, Backend, ModelLog, MortalLog, SlowWriter

if TYPE_CHECKING:
    from tests.model.world import World

BUS = Component.EVENT_BUS


class Actor:
    """A process with a view of the route. `deaf`: its watch is lost. `frozen`: it is not scheduled."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.deaf = False
        self.frozen = False
        self.busy = False
        self.born()

    def born(self) -> None:
        """Start the process; it lists the route as it is now."""
        self.view = RouteView(self.world.store, BUS)
        self._heard = -1
        self.hear()

    def hear(self, newest: bool = True) -> None:
        """The watch delivers the newest route, or the next one."""
        versions = self.world.store.versions
        while self._heard < len(versions) - 1:
            self._heard = len(versions) - 1 if newest else self._heard + 1
            self.view.take(versions[self._heard])
            if not newest:
                break

    @property
    def epoch(self) -> int:
        """The epoch of the route that it follows."""
        return self.view.current.epoch if self.view.current else 0

    def step(self) -> None:
        """Do one thing."""
        raise NotImplementedError

    def crash(self) -> None:
        """Die and start again at once."""
        raise NotImplementedError


class Pod(Actor):
    """A service that publishes. `slow`: what it sends stays on its way. `gone`: nobody knows of it any more. `strayed`:
    so it was once, and what it sent then may still be on its way."""

    slow = False
    gone = False
    strayed = False
    _lives = 0

    def born(self) -> None:
        self._lives += 1
        self.writers: list[SlowWriter] = []
        self._aside: list[Callable[[], None]] = []
        self.acknowledged = 0
        self.publisher = Publisher(
            self._log, SETTINGS, self.name, self._acknowledge, clock=self.world.now, aside=self._aside.append
        )
        self.waiting: list[Sent] = []
        super().born()
        self.view.listen(self.publisher.on_route)

    def _log(self, backend: str) -> ModelLog:
        return ModelLog(backend, self.world.servers[backend], self.writers.append)

    def _acknowledge(self, epoch: int) -> None:
        self.acknowledged = epoch

    def heartbeat(self) -> None:
        """What RoutedEventBus announces."""
        if self.gone:
            return
        reached = self.epoch - 1 if self.publisher.moving else max(self.acknowledged, self.epoch)
        self.world.registry.announce(BUS, self.name, "bus", reached, None, self._stranded())

    def _stranded(self) -> dict[str, Tail]:
        route = self.view.current
        tails = route.stranded if route else None
        return self.publisher.journal.beyond({topic: tail.copied for topic, tail in (tails or {}).items()})

    def publish(self, key: str) -> None:
        """A caller publishes."""
        event = self.world.new_event(self.name, key)
        sent = self.world.ledger.accept(event, self._lives)
        sent.stray = self.gone
        self.waiting.append(sent)
        self.publisher.publish(event).add_done_callback(lambda done: self._resolved(sent, done))

    def _resolved(self, sent: Sent, done: Future[Receipt]) -> None:
        self.waiting.remove(sent)
        sent.stray = sent.stray or self.gone
        if done.exception() is None:
            sent.acknowledged = self.world.ledger.happen()
        else:
            sent.failed = True

    def step(self) -> None:
        if self.publisher.moving:
            for sent in self.waiting:
                sent.resent = True
        try:
            self.publisher.step()
        except EventBusError:
            return  # the gate's thread tries again

    def send(self) -> None:
        """A batch is sent, or the next part of one arrives."""
        for writer in self.writers:
            if not (self.strayed and self.world.ajar(writer.server)):
                writer.send()

    def answer(self, *, timed_out: bool = False) -> None:
        """Answers come back; or none came in time."""
        for writer in self.writers:
            writer.answer(timed_out=timed_out)

    def toggle_slow(self) -> None:
        """What it sends stays on its way from now on, or arrives again."""
        self.slow = not self.slow

    def transfer(self) -> None:
        """What is on its way arrives, and is answered."""
        for _ in range(SETTINGS.partitions):
            self.send()
        self.answer()

    def burst(self, key: str) -> None:
        """A caller publishes, and that goes through as far as the gate lets it."""
        self.publish(key)
        self.step()
        self.transfer()

    def do_aside(self) -> None:
        """What was put aside is done."""
        while self._aside:
            self._aside.pop(0)()

    def settle(self) -> None:
        """All that it does within a moment in which nothing goes wrong."""
        for _ in range(3):
            self.step()
        if not self.slow:
            self.transfer()
        self.do_aside()
        self.heartbeat()

    def crash(self) -> None:
        """What was under way may still arrive, whenever."""
        self.world.orphans += [writer for writer in self.writers if writer.under_way]
        for sent in self.waiting:
            sent.failed = True
        self.born()


POD_ACTS: dict[str, Callable[[Pod, str], None]] = {
    "publish": Pod.publish,
    "burst": Pod.burst,
    "gate": lambda pod, _: pod.step(),
    "send": lambda pod, _: pod.send(),
    "answer": lambda pod, _: pod.answer(),
    "time_out": lambda pod, _: pod.answer(timed_out=True),
    "aside": lambda pod, _: pod.do_aside(),
    "heartbeat": lambda pod, _: pod.heartbeat(),
    "slow": lambda pod, _: pod.toggle_slow(),
}


class Member(Actor):
    """A service that consumes as a member of `group`."""

    def __init__(self, world: World, group: str, number: int) -> None:
        self.group = world.ledger.group(group)
        self._lives = 0
        self._session: Session | None = None
        self._events: list[Event] = []
        super().__init__(world, f"{group}-{number}")

    def born(self) -> None:
        self._lives += 1
        self.untold: set[str] = set()
        self.bookmarks = Bookmarks(lambda name: Backend(name, self.world.servers[name]))
        self.chain = ChainReader(
            self._log,
            TOPIC,
            self.group.name,
            f"{self.name}.{self._lives}",
            self._take,
            max_batch=2,
            start="earliest",
            newest=self._ask,
            bookmarks=self.bookmarks,
        )
        self.turn = Turn.READ_ON
        super().born()

    def _ask(self) -> Route | None:
        return self.view.ask()

    def _log(self, backend: str) -> MemoryLog:
        self._backend = backend
        return MortalLog(backend, self.world.servers[backend], lambda: self.world.killing)

    def _take(self, entries: Sequence[Stored]) -> bool:
        events = [entry.event for entry in entries if entry.event is not None]
        self._session = session = self.group.open(self._backend)
        self.group.give(session, events)
        for event in events:
            self.world.between("take")
            self.group.take_effect(session, event)
        self._events = events
        self.untold |= {event.id for event in events}
        return True

    def step(self) -> None:
        route = self.view.current
        try:
            if route is not None and route.fence is not None and route.fence.emergency:
                self.chain.flee()
                self._tell()
                return
            self.turn = self.chain.step(route, 0.0)
            if self._session is not None:
                self.group.acknowledge(self._session, self._events)
            self._tell()
        except (EventBusError, BusClosed):
            self.turn = Turn.READ_ON
        finally:
            if self._session is not None:
                self.group.end(self._session)
                self._session = None

    def _tell(self) -> None:
        """What the keeper of bookmarks does now and then."""
        self.bookmarks.flush()
        if self.view.current is not None and self.view.current.mirror is not None:
            self.untold.clear()

    def crash(self) -> None:
        self.group.license(self.untold)
        self.born()


class MirrorPod(Actor):
    """The mirror."""

    def born(self) -> None:
        self._mirror: Mirror | None = None
        self._wanted: tuple[Copying, ...] = ()
        self._sessions: list[CopySession] = []
        super().born()

    def step(self) -> None:
        """Follow the route, and copy a batch."""
        route = self.view.current
        if route is None:
            return
        if route.mirror != self._mirror:
            self._mirror, self._sessions = route.mirror, []
            self._wanted = copyings(route)
        try:
            if not self._sessions:
                logs = {name: Backend(name, server) for name, server in self.world.servers.items()}
                self._sessions = [
                    CopySession(c, logs[c.source], logs[c.target], lambda: self.epoch) for c in self._wanted
                ]
            for session in self._sessions:
                session.step(0.0)
        except EventBusError:
            self._sessions = []

    def crash(self) -> None:
        self.born()
