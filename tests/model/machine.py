"""The state machine: any schedule of publishers, consumers, the mirror and runs of the cutover."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Concatenate

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from contracts.stages import Stage
from cutover.plan import TRANSITIONS, Step
from tests.model.acts import Act, Interruption
from tests.model.ending import settle
from tests.model.ledger import Violation
from tests.model.world import World

STEPS = 40

TRAFFIC = [*(Act(what, n) for what in ("publish", "burst") for n in range(6)), *[Act("move")] * 4]
PARTS = [Act(what, n) for what in ("gate", "send", "answer", "aside", "heartbeat") for n in range(2)]
READING = [Act("consume", n) for n in range(3)] + [Act("mirror", n) for n in range(2)]
ROUTES = [Act(what, n) for what in ("hear", "deaf", "stale") for n in range(7)]
TROUBLE = [
    *(Act("time_out", n) for n in range(2)),
    *(Act(what, n) for what in ("crash", "frozen") for n in range(6)),
    *(Act("time", n) for n in (1, 6, 16, 31)),
    *(Act("orphan", n) for n in range(2)),
    *[Act(what, n) for what in ("gone", "slow") for n in range(2)] * 2,
    Act("join"),
    *[Act("second_mirror")] * 4,
]
MEANWHILE = [*TRAFFIC * 3, *PARTS, *READING, *ROUTES, *TROUBLE, *(Act("run", n) for n in range(4)), *[Act("forge")] * 4]
ENDS = ("", "", "killed", "failed")
_MOST_ACTS = 5
_OPERATIONS = (1, 1, 1, 2, 2, 3, 4, 6)


TROUBLED = (
    Act("run", 1),
    *(Act("move"),) * 2,
    Act("second_mirror"),
    *(Act("gone", 1), Act("slow", 1)),
    *(Act("deaf", n) for n in (4, 6)),
)
"""In shadow, with a process that nobody knows of, and a member and a second mirror that hear nothing."""
SLOW = (Act("run", 1), *(Act("move"),) * 2, Act("slow", 0))
"""In shadow, with a process that everybody knows of and whose events take long to arrive."""
REJOINED = (*(Act("run", n) for n in (1, 2, 3, 2)), Act("move"), Act("second_mirror"), Act("deaf", 6))
"""In scale, with a side that has left and come back, so that copies are copied, and a second mirror that hears
nothing."""
LATE = (
    Act("run", 1),
    *(Act("move"),) * 2,
    *(Act(what, 1) for what in ("slow", "publish", "gate", "gone")),
    Act("run", 2),
)
"""In scale, with a process that nobody knows of and whose event is still on its way to the side of before."""
NOTHING: tuple[Act, ...] = ()
BEGINNINGS = (NOTHING, NOTHING, TROUBLED, TROUBLED, SLOW, REJOINED)
PLACES = [step for step in Step if any(step in row for row in TRANSITIONS.values())]
PLACES += [Step.FENCE, Step.SEAL, Step.DRAIN, Step.CHECK, Step.OPEN, Step.WATCH] * 2


def interruption(code: bytes, places: Sequence[str]) -> Interruption:
    """The interruption that `code` stands for: in which step, at which of its first operations, what becomes
    of it, and what happens meanwhile, a byte each."""
    place, at, end, *during = code
    acts = tuple(MEANWHILE[n % len(MEANWHILE)] for n in during)
    return Interruption(_OPERATIONS[at % len(_OPERATIONS)], acts, ENDS[end % len(ENDS)], places[place % len(places)])


def scripts(places: Sequence[str], count: int) -> st.SearchStrategy[list[Interruption]]:
    """Up to `count` interruptions. Drawn as bytes: one choice each, where a list of lists would be dozens."""
    codes = st.binary(min_size=3, max_size=3 + _MOST_ACTS)
    return st.lists(codes, max_size=count).map(lambda found: [interruption(code, places) for code in found])


class Found(AssertionError):
    """A Violation as Hypothesis takes it, which shows the schedule of an Exception only."""


def shown[M: RuleBasedStateMachine, **P](
    move: Callable[Concatenate[M, P], None],
) -> Callable[Concatenate[M, P], None]:
    """A move of the machine; what it finds, Hypothesis takes."""

    @functools.wraps(move)
    def moved(self: M, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            move(self, *args, **kwargs)
        except Violation as violation:
            raise Found(str(violation)) from violation

    return moved


class Protocol(RuleBasedStateMachine):
    """Every invariant is looked at where it could break (ledger.py, world.py), and all of them at the end."""

    beginnings: Sequence[Sequence[Act]] = BEGINNINGS

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.last = Stage.SHADOW

    @initialize(how=st.integers(0, len(BEGINNINGS) - 1))
    @shown
    def begin(self, how: int) -> None:
        for act in self.beginnings[how % len(self.beginnings)]:
            self.world.do(act)

    @rule(acts=st.binary(min_size=1, max_size=4))
    @shown
    def traffic(self, acts: bytes) -> None:
        self._do(TRAFFIC, acts)

    @rule(acts=st.binary(min_size=1, max_size=4))
    @shown
    def parts(self, acts: bytes) -> None:
        self._do(PARTS, acts)

    @rule(acts=st.binary(min_size=1, max_size=3))
    @shown
    def routes(self, acts: bytes) -> None:
        self._do(ROUTES, acts)

    @rule(acts=st.binary(min_size=1, max_size=2))
    @shown
    def trouble(self, acts: bytes) -> None:
        self._do(TROUBLE, acts)

    @rule()
    @shown
    def wipe(self) -> None:
        self.world.do(Act("wipe"))

    @rule(before=st.binary(max_size=2), act=st.sampled_from(READING), script=scripts([""], 1))
    @shown
    def reading(self, before: bytes, act: Act, script: list[Interruption]) -> None:
        for n in before:
            self.world.do(Act("burst", n))
        self.world.do(act, script)

    @rule(wanted=st.sampled_from([Stage.SCALE, Stage.SHADOW, *Stage]), script=scripts(PLACES, 3))
    @shown
    def run(self, wanted: Stage, script: list[Interruption]) -> None:
        self.last = wanted
        self.world.run(wanted, script)

    @shown
    def teardown(self) -> None:
        settle(self.world, self.last)

    def _do(self, known: Sequence[Act], acts: bytes) -> None:
        for n in acts:
            self.world.do(known[n % len(known)])


def bounded(examples: int) -> settings:
    """Settings of a search that is the same each time."""
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
