"""What runs tell the audit log; that no log, or one that is away, changes nothing of a run; and what is told later."""

from __future__ import annotations

import time
from typing import Any

import pytest

from adapters.routes.audit import AuditLog, MemoryAudit
from adapters.routes.base import RouteUnavailable
from adapters.routes.recording import Recorder
from contracts.audit import Entry
from contracts.stages import Component, Stage
from cutover import auditing
from cutover.context import Context, Interrupted, StepFailed
from cutover.plan import Step, StepMethod, Transition
from cutover.reporting import as_json, summary
from cutover.run import Outcome, Runner, validate
from tests.unit.cutover.world import World

BUS = Component.EVENT_BUS


class Audited(World):
    """A world whose runs tell `log`; None: it is away."""

    def __init__(self) -> None:
        super().__init__()
        self.audit: AuditLog | None = MemoryAudit()

    def opened(self) -> AuditLog:
        if self.audit is None:
            raise RouteUnavailable("the API server does not answer")
        return self.audit

    def audited(self) -> Context:
        """The context of another run."""
        context = self.context()
        context.audit = Recorder(self.opened, f"Job {context.holder}", {"owner": "stack-a"})
        return context

    def move(self, stage: Stage, spoilt: dict[Step, StepMethod] | None = None, *, emergency: bool = False) -> Outcome:
        """Run a Transition Job, with some of its steps made others."""
        context = self.audited()
        steps = self.steps(context)
        for step, method in (spoilt or {}).items():
            steps.steps[step] = method
        try:
            return Runner(context, steps, stage, emergency=emergency).run()
        finally:
            steps.close()

    def check(self) -> Outcome:
        """Run a check."""
        context = self.audited()
        steps = self.steps(context)
        try:
            return validate(context, steps)
        finally:
            auditing.close(context.audit, context.say)
            steps.close()

    def entries(self) -> list[Entry]:
        assert self.audit is not None
        assert self.audit.verify() is None
        return list(self.audit.entries())

    def told(self) -> list[tuple[str, str]]:
        """Of each entry its kind, and its way or outcome."""
        return [(one.kind, _way(one.data)) for one in self.entries()]


def _way(data: dict[str, Any]) -> str:
    way = f"{data.get('from')}-{data.get('to')}" if "to" in data else data.get("outcome", "")
    return f"{way} {data['outcome']}" if "to" in data and "outcome" in data else str(way)


def fails(transition: Transition) -> str:
    """On the way there, not on the way back."""
    if transition.goal is Stage.SCALE:
        raise StepFailed("it does not hold", "look")
    return ""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.routes.recording._PAUSE_SECONDS", 0.02)


def test_each_transition_is_told_when_it_begins_and_ends_and_each_verdict_between() -> None:
    with Audited() as world:
        world.move(Stage.MVP)
        world.publish(4)
        assert world.move(Stage.SCALE).reached
        assert world.told() == [
            ("transition begun", "None-mvp"),
            ("transition ended", "None-mvp holds"),
            ("transition begun", "mvp-shadow"),
            ("verdict kept", "holds"),
            ("transition ended", "mvp-shadow holds"),
            ("transition begun", "shadow-scale"),
            ("verdict kept", "holds"),
            ("transition ended", "shadow-scale holds"),
        ]
        last = world.entries()[-1]
        assert (last.component, last.actor, last.data["owner"]) == ("event_bus", "Job run-2", "stack-a")
        history = world.route().history[-1]
        assert {key: last.data[key] for key in ("at", "epoch", "seconds")} == {
            "at": history.at, "epoch": history.epoch, "seconds": history.seconds,
        }  # fmt: skip
        steps = [(one["step"], one["outcome"]) for one in last.data["steps"]]
        assert ("fence", "holds") in steps and steps[-1] == ("watch", "holds")
        assert world.check().verdict == "holds"
        assert world.told()[-1] == ("verdict kept", "holds")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Step.DRAIN, [("transition ended", "shadow-scale undone")]),
        (
            Step.WATCH,
            [("transition begun", "scale-shadow"), ("transition ended", "scale-shadow switched back")],
        ),
    ],
)
def test_what_failed_is_told_by_how_it_ended(step: Step, told: list[tuple[str, str]]) -> None:
    with Audited() as world:
        world.move(Stage.SHADOW)
        before = len(world.entries())
        assert not world.move(Stage.SCALE, {step: fails}).reached
        found = [one for one in world.told()[before:] if one[0] != "verdict kept"]
        assert found == [("transition begun", "shadow-scale"), *told]
        last = world.entries()[-1].data
        assert last["detail"] in ("it does not hold. look", "post-checks failed")
        assert (step.value, "does not hold") in [(one["step"], one["outcome"]) for one in last["steps"]]


def test_a_run_that_was_cut_off_is_told_by_the_next() -> None:
    def killed(_: Transition) -> str:
        raise KeyboardInterrupt

    with Audited() as world:
        world.move(Stage.SHADOW)
        with pytest.raises(KeyboardInterrupt):
            world.move(Stage.SCALE, {Step.SEAL: killed})
        world.audit = MemoryAudit()
        assert world.move(Stage.SHADOW).reached
        *_, undone = [one for one in world.entries() if one.kind == "transition ended"]
        assert undone.data["outcome"] == "undone" and "of a run that was cut off, run-2" in undone.data["detail"]


def test_a_run_that_is_stopped_while_it_watches_is_told() -> None:
    def stopped(_: Transition) -> str:
        raise Interrupted("asked to stop")

    with Audited() as world:
        world.move(Stage.SHADOW)
        world.move(Stage.SCALE, {Step.WATCH: stopped})
        assert world.told()[-1] == ("transition ended", "shadow-scale interrupted")


def test_what_is_refused_before_anything_is_touched_is_told() -> None:
    with Audited() as world:
        world.move(Stage.MVP)
        world.lock.acquire(BUS, "somebody", 0)
        world.move(Stage.SCALE)
        world.lock.release(BUS, "somebody")
        refused = world.entries()[-1]
        assert (refused.kind, refused.data["to"]) == ("refused", "scale")
        assert "somebody holds the lock" in refused.data["detail"]


def test_a_log_that_is_away_stops_no_run_says_so_and_is_completed_by_the_next() -> None:
    with Audited() as world:
        world.move(Stage.MVP)
        kept, world.audit = world.audit, None
        began = time.monotonic()
        outcome = world.move(Stage.SCALE)
        assert outcome.reached and time.monotonic() - began < 20
        said = "AUDIT: the audit log could not be written, "
        assert said in outcome.unaudited and "the API server does not answer" in outcome.unaudited
        assert said in "\n".join(world.lines) and said in summary(BUS, outcome) and said in as_json(BUS, outcome)
        world.audit = kept
        before = len(world.entries())
        assert not world.check().unaudited
        later = world.entries()[before:]
        # The verdict that the check itself kept comes last, and was not told later.
        assert [(one.kind, one.data.get("told_later")) for one in later] == [
            ("transition ended", True),
            ("verdict kept", True),
            ("transition ended", True),
            ("verdict kept", None),
        ]
        assert [_way(one.data) for one in later if one.kind == "transition ended"] == [
            "mvp-shadow holds", "shadow-scale holds",
        ]  # fmt: skip
        assert [one.at for one in world.route().history[1:]] == [
            one.happened for one in later if one.kind == "transition ended"
        ]
        for _ in range(2):  # what is complete is not told again
            world.move(Stage.SCALE)
        assert len(world.entries()) == before + 4


def test_a_log_that_hangs_makes_a_run_slower_by_its_bound_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder.close, "__defaults__", (0.3,))

    class Hanging(MemoryAudit):
        def append(self, *args: Any, **kwargs: Any) -> Entry:
            time.sleep(3)
            return super().append(*args, **kwargs)

    with Audited() as world:
        world.move(Stage.MVP)
        world.audit = Hanging()
        began = time.monotonic()
        outcome = world.move(Stage.MVP)
        world.publish(1)
        assert outcome.reached and time.monotonic() - began < 2.5
        assert outcome.unaudited


def test_a_new_stack_goes_on_with_the_chain() -> None:
    log = MemoryAudit()
    for _ in range(2):
        with Audited() as world:
            world.audit = log
            world.move(Stage.MVP)
    assert log.verify() is None
    assert [one.seq for one in log.entries()] == [1, 2, 3, 4]


def test_what_settles_outside_a_run_is_completed_by_its_history() -> None:
    with Audited() as world:
        world.move(Stage.MVP)
        route = world.route()
        stray = route.history[-1].model_copy(update={"at": "2099-01-01T00:00:00.000Z", "outcome": "strays applied"})
        assert world.audit is not None
        [(kind, data)] = auditing.lacking(route.with_history(stray), world.audit)
        assert (kind.value, data["outcome"], data["told_later"]) == ("transition ended", "strays applied", True)
