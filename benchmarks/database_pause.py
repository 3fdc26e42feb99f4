"""How long a switch of the database holds its clients up: the real steps of a cutover between two real servers, while
a bank transfers through PgBouncer.

Clients, carrier, agent and cutover share one process here; routes are in memory. On a cluster `make demo` takes the
same figure with each of them in a pod of its own. Each stall is also put beside what no switch of this kind can do
without: what is committed must come to the other side, and the pooler must be told twice, to pause and to go on.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.postgres import heartbeats
from adapters.postgres.driver import connect
from adapters.postgres.transfers import balances, transfers
from benchmarks.frame import Figure, ratios, spread
from benchmarks.pause import SAME
from contracts.stages import Stage
from cutover.plan import Step
from tests.contract.database_world import DatabaseWorld, before, database_servers, database_world
from validation.bank.account import Book, Transfer, read
from validation.bank.judging import Found, judge, judge_window
from validation.bank.load import Load, Schedule
from validation.ledger import Window

RATE, CLIENTS = 500.0, 8
ROUNDS = 6
"""There and back, each."""
AROUND_SECONDS = 2.0
STALL_LIMIT, STALL_AIM = 1000, 250
RUN = "bench"
_LONGEST_SECONDS = 900.0
_ROUND_TRIPS, _ASKED = 2, 20
_LOOK_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Passed:
    """One switch as it went. `lag` and `trip` (ms) right before its fence: how long what is committed takes to the
    other side, and a statement to the server and back."""

    goal: Stage
    seconds: float
    window: Window
    lag: float
    trip: float

    @property
    def least(self) -> float:
        """Milliseconds that the stall must take."""
        return self.lag + _ROUND_TRIPS * self.trip


@dataclass(frozen=True, slots=True)
class Switched:
    """And what its clients had of it: the longest that a transaction of its window was late, in ms."""

    passed: Passed
    stall: float


def figures() -> list[Figure]:
    """Stalls there and back, failed statements, and how long a whole cutover takes."""
    with tempfile.TemporaryDirectory(prefix="crossover-bench-") as folder:
        book = Path(folder) / "bank.jsonl"
        with database_servers() as servers, database_world(*servers) as world:
            passed = _switches(world, book)
            with connect(world.client, "judge", session={}) as connection:
                found = Found.read(transfers(connection, RUN), balances(connection))
        noted = list(read(book))
    whole = judge(noted, found, min_rate=RATE * 0.95)
    if [check for check in whole.failures() if check.name != "no statement failed"]:
        raise RuntimeError(f"the book of the switches says {whole.overall().value}: {whole.failures()}")
    switched = [Switched(one, _stall(one, noted, found)) for one in passed]
    by_goal = {goal: [one for one in switched if one.passed.goal is goal] for goal in (Stage.SCALE, Stage.SHADOW)}
    return [
        *_stalls(by_goal),
        _against_the_least(switched),
        Figure(
            figure="failed_statements", value=whole.figures["caller_errors"], unit="", limit=0, aim=0, at_most=True,
            how=f"of {len(noted)} transactions at {whole.figures['rate']:.0f}/s, over {len(switched)} switches; none "
            "acknowledged is lost, changed or doubled, and no money came or went",
        ),
        _way_back(by_goal),
    ]  # fmt: skip


def _switches(world: DatabaseWorld, book: Path) -> list[Passed]:
    """All switches, under load. Raises RuntimeError where one does not come to its stage."""
    world.reach(Stage.MVP)
    passed: list[Passed] = []
    with _loaded(world, book):
        world.reach(Stage.SHADOW)
        for number in range(ROUNDS * 2):
            passed.append(_switch(world, Stage.SHADOW if number % 2 else Stage.SCALE))
    return passed


def _switch(world: DatabaseWorld, goal: Stage) -> Passed:
    measured: list[tuple[float, float]] = []
    started, began = time.time_ns(), time.monotonic()
    outcome = world.migrate(goal, before(Step.FENCE, lambda: measured.append((_lag(world), _trip(world)))))
    seconds = time.monotonic() - began
    if not outcome.reached:
        raise RuntimeError(f"{goal.value} was not reached: {outcome.message}\n" + "\n".join(world.lines[-40:]))
    time.sleep(AROUND_SECONDS)  # load on the new side
    return Passed(goal, seconds, Window(started, time.time_ns()), *measured[0])


@contextlib.contextmanager
def _loaded(world: DatabaseWorld, path: Path) -> Iterator[None]:
    """The bank at work for as long as the block lasts."""
    book, stop = Book(path), threading.Event()
    load = Load(world.client, RUN, Schedule(RATE, _LONGEST_SECONDS, CLIENTS), book, lambda _: None)
    load.prepare()
    thread = threading.Thread(target=load.run, args=(stop.is_set,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        book.close()


def _lag(world: DatabaseWorld) -> float:
    """Milliseconds until what is committed where clients write is at the other side."""
    source = world.route.active
    (target,) = world.servers.keys() - {source}
    with connect(world.servers[source], "bench") as here, connect(world.servers[target], "bench") as there:
        began = time.perf_counter()
        sent = heartbeats.beat(here, source).number
        while heartbeats.heard(there, source) < sent:
            time.sleep(_LOOK_SECONDS)  # the server tells of no commit
        return (time.perf_counter() - began) * 1000


def _trip(world: DatabaseWorld) -> float:
    """Milliseconds of a statement through the pooler."""
    taken: list[float] = []
    with connect(world.client, "bench", session={}) as connection:
        for _ in range(_ASKED):
            began = time.perf_counter()
            connection.execute("select 1")
            taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def _stall(one: Passed, noted: Sequence[Transfer], found: Found) -> float:
    """Milliseconds. Raises RuntimeError where the bank was so far behind that nothing was due around the switch."""
    seen = judge_window(one.goal.value, noted, found, one.window, min_rate=1.0).figures.get("stall_ms_max")
    if seen is None:
        raise RuntimeError(
            f"no transaction was due around a switch to {one.goal.value}: the machine does not bear {RATE:g}/s beside "
            "what else runs on it, so nothing can be said of stalls. Run it again on a quieter one"
        )
    return seen


def _stalls(found: Mapping[Stage, Sequence[Switched]]) -> list[Figure]:
    """There, back, and over all switches."""
    made = []
    for name, goal in (("hosted_to_selfhosted", Stage.SCALE), ("selfhosted_to_hosted", Stage.SHADOW)):
        stall = spread([one.stall for one in found[goal]])
        how = f"longest that a transaction is late around a switch at {RATE:g}/s; {stall.text}"
        made.append(_bounded(f"stall_{name}", stall.median, how))
    stalls = [one.stall for switched in found.values() for one in switched]
    p99 = statistics.quantiles(stalls, n=100, method="inclusive")[98]
    how = f"of the longest stalls of {len(stalls)} switches, there and back; the longest {max(stalls):.0f}"
    return [*made, _bounded("stall_p99", p99, how)]


def _bounded(name: str, stall: float, how: str) -> Figure:
    return Figure(figure=name, value=stall, unit="ms", limit=STALL_LIMIT, aim=STALL_AIM, at_most=True, how=how)


def _against_the_least(switched: Sequence[Switched]) -> Figure:
    times = ratios([one.stall for one in switched], [one.passed.least for one in switched])
    lag, trip = (statistics.median(getattr(one.passed, name) for one in switched) for name in ("lag", "trip"))
    return Figure(
        figure="stall_to_lag_and_round_trips", value=times.median, unit="x", at_most=True,
        how=f"each stall against its stream's lag ({lag:.1f} ms in the median) and {_ROUND_TRIPS} round trips of "
        f"{trip:.2f} ms right before it; {times.text}",
    )  # fmt: skip


def _way_back(found: Mapping[Stage, Sequence[Switched]]) -> Figure:
    """The rollback against the way forward: each switch with the one that followed it."""
    back, forth = found[Stage.SHADOW], found[Stage.SCALE]
    seconds = ratios([one.passed.seconds for one in back], [one.passed.seconds for one in forth])
    stalls = ratios([one.stall for one in back], [one.stall for one in forth])
    took = statistics.median(one.passed.seconds for one in forth)
    return Figure(
        figure="rollback_against_forward", value=seconds.median, unit="x", limit=SAME, aim=1.0, at_most=True,
        how=f"seconds of a whole cutover back against forward; {seconds.text}; forward {took:.1f} s; stalls back "
        f"against forward {stalls.median:.2f}, {stalls.text}",
    )  # fmt: skip
