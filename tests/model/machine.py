"""The state machine: any schedule of publishers, consumers, the mirror and runs of the cutover."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from contracts.stages import Stage
from cutover.plan import Step
from tests.model.world import Act, Interruption, World

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


PLACES = [*Step] + [Step.FENCE, Step.SEAL, Step.DRAIN, Step.CHECK, Step.OPEN, Step.WATCH] * 2


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


class Protocol(RuleBasedStateMachine):
    """Every invariant is looked at where it could break (ledger.py, world.py), and all of them at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.last = Stage.SHADOW

    @rule(acts=st.binary(min_size=1, max_size=4))
    def traffic(self, acts: bytes) -> None:
        self._do(TRAFFIC, acts)

    @rule(acts=st.binary(min_size=1, max_size=4))
    def parts(self, acts: bytes) -> None:
        self._do(PARTS, acts)

    @rule(acts=st.binary(min_size=1, max_size=3))
    def routes(self, acts: bytes) -> None:
        self._do(ROUTES, acts)

    @rule(acts=st.binary(min_size=1, max_size=2))
    def trouble(self, acts: bytes) -> None:
        self._do(TROUBLE, acts)

    @rule()
    def wipe(self) -> None:
        self.world.do(Act("wipe"))

    @rule(act=st.sampled_from(READING), script=scripts([""], 1))
    def reading(self, act: Act, script: list[Interruption]) -> None:
        self.world.do(act, script)

    @rule(wanted=st.sampled_from([Stage.SCALE, Stage.SHADOW, *Stage]), script=scripts(PLACES, 3))
    def run(self, wanted: Stage, script: list[Interruption]) -> None:
        self.last = wanted
        self.world.run(wanted, script)

    def teardown(self) -> None:
        self.world.settle(self.last)

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
