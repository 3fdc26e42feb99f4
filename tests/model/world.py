"""Everything that takes part in the protocol, in one thread: what happens next is the caller's choice."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence

from adapters.event_bus.base import ORIGIN_HEADER
from adapters.event_bus.chain_scan import scan_chain
from adapters.event_bus.errors import BackendUnavailable
from adapters.event_bus.gate import FENCE_HOLD_SECONDS
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_server import MemoryServer
from adapters.routes.memory import MemoryRegistry
from contracts.envelope import Event
from contracts.registry import LEASE_SECONDS
from contracts.routes import Route
from contracts.stages import Stage
from cutover.event_bus.work import other
from cutover.run import Outcome
from tests.model.actors import BUS, POD_ACTS, Actor, Member, MirrorPod, Pod
from tests.model.acts import Act, Frame, Interruption
from tests.model.ledger import Ledger, demand
from tests.model.switcher import Killed, MortalLock, RecordingStore, run
from tests.model.wire import TOPIC, Backend, ModelServer, SlowWriter

KEYS = ("BTC", "ETH", "SOL")
GROUPS = (("g", 2), ("h", 1))


class World:
    """Two backends, a route, publishers, consumers, the mirror, and runs of the cutover. `attentive`: members know
    the newest route whenever they read."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.killing = False
        self.lines: list[str] = []
        self.ledger = Ledger()
        self._frames: list[Frame] = []
        self._numbers = itertools.count()
        self._runs = itertools.count(1)
        self._epochs: dict[int, str] = {}
        self._announced = 0.0
        self._fenced: set[str] = set()
        self._dead_holder = False
        self.checked = False
        self.forged = False
        self.fleeing = False
        self.attentive = False
        self.store = RecordingStore(self)
        self.registry = MemoryRegistry(self.now)
        self.lock = MortalLock(self)
        self.servers = {name: self._server(name) for name in ("redis", "kafka")}
        self.orphans: list[SlowWriter] = []
        with self._interrupted(()):
            run(self, Stage.MVP, "run-0")
        self.pods = [Pod(self, f"pod-{n}") for n in range(2)]
        self.members = [Member(self, group, n) for group, count in GROUPS for n in range(count)]
        self.mirrors = [MirrorPod(self, "mirror")]
        self.registry.pods = {pod.name for pod in self.pods}
        for pod in self.pods:
            pod.heartbeat()

    def _server(self, name: str) -> ModelServer:
        return ModelServer(self.now, self.between, lambda *event: self._written(name, *event))

    # -- time, and what may happen meanwhile

    def now(self) -> float:
        """Seconds, monotonic."""
        return self.seconds

    def say(self, line: str) -> None:
        """A line of a run, for whoever reads a failure."""
        self.lines.append(line)

    @property
    def route(self) -> Route:
        """The route now."""
        return self.store.versions[-1]

    @property
    def actors(self) -> list[Actor]:
        """All but the cutover."""
        return [*self.pods, *self.members, *self.mirrors]

    @contextlib.contextmanager
    def _interrupted(self, script: Sequence[Interruption]) -> Iterator[None]:
        self._frames.append(Frame(list(script)))
        try:
            yield
        except Killed:
            self.killing = False
        finally:
            self._frames.pop()

    def between(self, operation: str) -> None:
        """An actor is about to do `operation`: what its script has for this place happens first."""
        if not self._frames:
            return
        frame = self._frames[-1]
        frame.done += 1
        due = [one for one in frame.script if one.at <= frame.done and one.step == frame.step]
        for interruption in due:
            frame.script.remove(interruption)
            for act in interruption.acts:
                self.do(act)
            if interruption.then == "killed":
                self.killing = True
                raise Killed
            if interruption.then == "failed" and operation not in ("read", "write", "rest", "take"):
                raise BackendUnavailable(f"{operation} got no answer")

    def step_began(self, step: str) -> None:
        """A run goes on to `step`."""
        self._frames[-1].step, self._frames[-1].done = step, 0

    def ajar(self, server: MemoryServer) -> bool:
        """Whether `server`, which the route does not name, or not yet, takes writers: docs/protocol.md says what is not
        looked at then."""
        return server is self.servers[other(self.route.active)] and TOPIC not in server.seals

    def everyone_moves(self) -> None:
        """A moment passes in which whoever is not frozen does what it can."""
        for actor in self.actors:
            if actor.frozen or actor.busy:
                continue
            if not actor.deaf:
                actor.hear()
            if isinstance(actor, Pod):
                with self._interrupted(()):
                    actor.settle()
            else:
                self.step(actor)

    def step(self, actor: Actor, script: Sequence[Interruption] = ()) -> None:
        """One step of `actor`, unless it is in the middle of one."""
        if actor.busy:
            return
        if self.attentive and isinstance(actor, Member):
            actor.hear()
        actor.busy = True
        done = False
        try:
            with self._interrupted(script):
                actor.step()
                done = True
        finally:
            actor.busy = False
        if not done:
            actor.crash()

    def run(self, wanted: Stage, script: Sequence[Interruption] = (), *, emergency: bool = False) -> Outcome | None:
        """One run of the cutover; None where it was killed. It waits for the lock of a run that was killed."""
        if self._dead_holder:
            self.seconds += LEASE_SECONDS + 1
            self.everyone_moves()
        self._dead_holder = True
        outcome = None
        with self._interrupted(script):
            outcome = run(self, wanted, f"run-{next(self._runs)}", emergency=emergency)
            self._dead_holder = False
        self._empty_what_differs()
        return outcome

    def _empty_what_differs(self) -> None:
        """A side in which a comparison found a difference is emptied once it is retired: so says the failure."""
        if self.forged and self.route.mirror is None:
            self.wipe()
            self.forged = False

    # -- acts

    def do(self, act: Act, script: Sequence[Interruption] = ()) -> None:
        """Let `act` happen."""
        n = act.n
        if act.what in POD_ACTS:
            pod = self.pods[n % len(self.pods)]
            with self._interrupted(()):
                POD_ACTS[act.what](pod, KEYS[n // len(self.pods) % len(KEYS)])
        elif act.what == "consume":
            self.step(self.members[n % len(self.members)], script)
        elif act.what == "mirror":
            self.step(self.mirrors[n % len(self.mirrors)], script)
        elif act.what == "run":
            self.run(list(Stage)[n % len(Stage)], script)
        else:
            WORLD_ACTS[act.what](self, n)

    def _actor(self, n: int) -> Actor:
        return self.actors[n % len(self.actors)]

    def gone(self, n: int) -> None:
        """Deleted by force on a node that is cut off: a pod's record goes with it, its process goes on."""
        pod = self.pods[n % len(self.pods)]
        pod.gone = pod.strayed = pod.deaf = True
        self.registry.pods.discard(pod.name)
        self.registry.withdraw(BUS, pod.name)

    def orphan(self, n: int) -> None:
        """What a process had sent that crashed since arrives."""
        if self.orphans:
            fenced, self._fenced = self._fenced, set()  # the process that obeys is another one
            self.orphans[n % len(self.orphans)].arrive()
            self._fenced = fenced

    def join(self, _: int) -> None:
        """A new group begins to read, once."""
        if len(self.members) == sum(count for _, count in GROUPS):
            self.members.append(Member(self, "late", 0))

    def second_mirror(self, _: int) -> None:
        """Another mirror starts while the first still runs."""
        if len(self.mirrors) == 1:
            self.mirrors.append(MirrorPod(self, "mirror-2"))

    def pass_time(self, seconds: int) -> None:
        """Time passes in which nobody does anything."""
        self.seconds += seconds

    def hear_stale(self, n: int) -> None:
        """A watch that lags delivers a route of an older epoch once more."""
        actor = self._actor(n)
        older = [route for route in self.store.versions if route.epoch < actor.epoch]
        if older and not actor.busy:
            actor.view.take(older[-1])

    def hear(self, n: int) -> None:
        """A watch delivers the next version of the route."""
        self._actor(n).hear(newest=False)

    def turn_deaf(self, n: int) -> None:
        """A watch is lost, or comes back."""
        self._actor(n).deaf ^= True

    def freeze(self, n: int) -> None:
        """A process is not scheduled any more, or again."""
        self._actor(n).frozen ^= True

    def crash(self, n: int) -> None:
        """A process dies and starts again."""
        actor = self._actor(n)
        if actor.busy:
            return
        actor.crash()
        self._fenced.discard(actor.name)

    def forge(self, _: int) -> None:
        """A copy that nothing was copied from appears on the side that follows; after the last check, nobody
        could tell. It names no epoch, so that a mirror that missed a switch could not tell either."""
        if (
            self.fleeing
            or self.route.mirror is None
            or self.checked
            or any(m.epoch < self.route.epoch for m in self.mirrors)
        ):
            return
        server = self.servers[self.route.mirror.target]
        server.append_raw(TOPIC, 0, {ORIGIN_HEADER: self.route.mirror.source.encode()}, b"forged")
        self.forged = True

    def wipe(self, _: int = 0) -> None:
        """The retired backend is deleted with its data, and made anew: a copying session of before is none there."""
        if self.route.mirror is not None:
            return
        for actor in self.actors:
            actor.hear()  # deleting and making anew takes longer than a watch is ever lost for
        for follower in (*self.pods, *self.mirrors):
            self.step(follower)
        server = self.servers[other(self.route.active)]
        for writer in (*self.orphans, *(writer for pod in self.pods for writer in pod.writers)):
            writer.lose(server)
        for kept in (server.topics, server.groups, server.seals, server.copied):
            kept.clear()
        server.sessions = {copier: session + 1 for copier, session in server.sessions.items()}

    def new_event(self, source: str, key: str) -> Event:
        """A new event, alike in each run of the same schedule."""
        number = next(self._numbers)
        return Event(
            topic=TOPIC,
            key=key,
            payload=f"{source}/{key}/{number}".encode(),
            id=f"id-{number}",
            source=source,
            time="2026-01-01T00:00:00Z",
        )

    # -- what is looked at as it happens

    def flight(self, script: Sequence[Interruption] = ()) -> None:
        """Kafka dies while it serves, and the operator says so."""
        if self.route.active != "kafka" or self.route.mirror is None:
            return
        if self.forged:
            return  # with a dead backend nothing can be compared: what was copied before is believed
        self.servers["kafka"].faults.take_down()
        self.fleeing = True
        self.run(Stage.SHADOW, script, emergency=True)
        self.fleeing = False

    def revive(self, _: int = 0) -> None:
        """Kafka is back."""
        self.servers["kafka"].faults.bring_up()

    def everyone_lets_go(self) -> None:
        """What an emergency's fence does to who consumes: whoever hears it finishes what it has in hand."""
        for member in self.members:
            if not (member.deaf or member.frozen or member.busy):
                member.hear()
                self.step(member)

    def _written(self, backend: str, source: str, epoch: int, event_id: str) -> None:
        """A writer stored an event."""
        if self.route.stranded is not None and backend != self.route.active and event_id in self.ledger.sent:
            self.ledger.sent[event_id].stranded = True
        demand(self._epochs.setdefault(epoch, backend) == backend, "one backend takes writers of an epoch", epoch)
        fence = self.route.fence
        if fence is not None and backend == self.route.active and source in self._fenced:
            obeyed = self.now() - self._announced <= FENCE_HOLD_SECONDS
            demand(not obeyed, "behind a complete fence the old side stands still", (source, epoch))

    def fence_completed(self, holder: str, overtaken: bool) -> None:
        """The run `holder` believes that everybody holds. `overtaken`: it knows that it lost its lock."""
        fence = self.route.fence
        if fence is None or fence.holder != holder:
            demand(overtaken, "only a run that lost its lock sees its fence go", (holder, fence))
            return
        live = {record.name for record in self.registry.records(BUS) if record.live}
        self._fenced = {pod.name for pod in self.pods if pod.name in live}
        for pod in self.pods:
            if pod.name in live:
                demand(pod.acknowledged == fence.epoch, "every live adapter acknowledged this very fence", pod.name)
                demand(all(writer.idle for writer in pod.writers), "nothing is in flight", pod.name)

    def check_completed(self) -> None:
        """The cutover believes that both sides are equal."""
        self.checked = True

    def route_written(self, before: Route | None, route: Route) -> None:
        """Read by the route as it now is, the chain holds all that was acknowledged."""
        if route.fence is None:
            self._fenced = set()
            self.checked = False
        elif before is None or before.fence != route.fence:
            self._announced = self.now()
        if route.stranded is not None and (before is None or before.stranded is None):
            self._fled(route)
        self.ledger.stranding = any(not tail.swept for tail in (route.stranded or {}).values())
        if before is None or before.chains == route.chains:
            return
        self.ledger.read_by(self.content(route), f"a reader by the route of epoch {route.epoch}")
        if before.active != route.active:
            self.ledger.read_by(self.all_of(route.active), "the side that opens")

    def _fled(self, route: Route) -> None:
        """Traffic flees: what comes out of order, and what may come once more."""
        tail = (route.stranded or {})[TOPIC]
        dead = Backend(tail.backend, self.servers[tail.backend])
        with self.unheeded(), self.servers[tail.backend].faults.lifted():
            only = [e for e in dead.scan(TOPIC, tail.copied, dead.end(TOPIC)) if e.origin is None and e.event]
        for entry in only:
            if entry.event is not None:
                self.ledger.sent[entry.event.id].stranded = True
        for group in self.ledger.groups.values():
            group.end_all(tail.backend)
        for member in self.members:
            member.group.license(member.untold)

    def log(self, backend: str) -> MemoryLog:
        """A view of `backend`."""
        return Backend(backend, self.servers[backend])

    def content(self, route: Route) -> list[Event]:
        """What a reader of the whole chain gets by `route`."""
        with self.unheeded():
            stored = list(scan_chain(route, TOPIC, self.log))
        return [e.event for e in stored if e.event]

    def all_of(self, backend: str) -> list[Event]:
        """All that `backend` holds."""
        log = self.log(backend)
        with self.unheeded():
            stored = list(log.scan(TOPIC, log.beginning(TOPIC), log.end(TOPIC)))
        demand(all(e.event for e in stored), "no forged copy is opened over")
        return [e.event for e in stored if e.event]

    @contextlib.contextmanager
    def unheeded(self) -> Iterator[None]:
        """The model looks: nothing happens meanwhile."""
        frames, self._frames = self._frames, []
        try:
            yield
        finally:
            self._frames = frames


WORLD_ACTS: dict[str, Callable[[World, int], None]] = {
    "gone": World.gone,
    "orphan": World.orphan,
    "hear": World.hear,
    "stale": World.hear_stale,
    "deaf": World.turn_deaf,
    "frozen": World.freeze,
    "crash": World.crash,
    "join": World.join,
    "second_mirror": World.second_mirror,
    "time": World.pass_time,
    "move": lambda world, _: world.everyone_moves(),
    "forge": World.forge,
    "wipe": World.wipe,
    "flight": lambda world, _: world.flight(),
    "revive": World.revive,
}
