"""Runs a plan: takes the lock, does the steps, undoes or reverses what fails, and says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from adapters.event_bus.errors import EventBusError
from adapters.llm.errors import LLMError
from adapters.postgres.errors import PostgresError
from adapters.routes.base import LockHeld, RouteError
from contracts.audit import Kind
from contracts.routes import HistoryEntry, Progress, Route
from contracts.stages import Stage
from cutover import auditing, verdicts
from cutover.context import Context, utc_now
from cutover.errors import CouldNotCheck, CutoverError, Interrupted, StepFailed
from cutover.plan import (
    WATCH_FAILED,
    ImpossiblePlan,
    Plan,
    Step,
    StepMethod,
    Transition,
    in_step,
    path,
    plan,
    transitions,
)
from cutover.tables import ADDITION, TABLES
from validation.log_comparison import ComparisonStopped
from validation.result import Check

HOLDS = "holds"
CHECKED = (Step.PREFLIGHT, Step.COMPARE)
"""What a component is checked by as it stands."""
UNCHECKED = (EventBusError, PostgresError, LLMError, RouteError, ComparisonStopped)
"""What ends a step without a verdict: whether it holds is not known."""


class Steps(Protocol):
    """The effects of one component."""

    @property
    def steps(self) -> Mapping[Step, StepMethod]:
        """The method of each step."""

    def added_topics(self) -> tuple[str, ...]:
        """The topics that are new in config. Raises StepFailed where config does not fit the route."""

    def due(self, wanted: Stage) -> tuple[Step, ...]:
        """Steps that config asks for as things stand, on whatever journey to `wanted`."""

    def undo(self) -> str:
        """Let go of a fence that was not opened."""

    def readmit(self) -> str:
        """Let writers into the backend that serves."""

    def tidy(self) -> str:
        """Where the wanted stage holds: take away what a transition left that was given up; empty where it left
        nothing."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step that was done. `outcome` is `holds` or a verdict of cutover/errors.py; `checks` are the items of a
    step that is made of such."""

    transition: str
    step: str
    outcome: str
    detail: str
    seconds: float
    checks: tuple[Check, ...] = ()

    @property
    def told(self) -> dict[str, str | float]:
        """For machines, without its detail."""
        seconds = round(self.seconds, 3)
        return {"transition": self.transition, "step": self.step, "outcome": self.outcome, "seconds": seconds}


@dataclass(slots=True)
class Outcome:
    """What a run came to. `stage` is the stage that the route records at its end; `unaudited`: why the audit log lacks
    something of it."""

    wanted: Stage
    stage: Stage | None = None
    verdict: str = HOLDS
    message: str = ""
    records: list[StepRecord] = field(default_factory=list)
    unaudited: str = ""

    @property
    def reached(self) -> bool:
        """Whether the wanted stage holds."""
        return self.verdict == HOLDS and self.stage == self.wanted


class Runner:
    """One run of a Transition Job. `emergency`: the backend that serves is dead, by the operator's word."""

    def __init__(self, context: Context, steps: Steps, wanted: Stage, *, emergency: bool = False) -> None:
        self._c = context
        self._steps = steps
        self._emergency = emergency
        self._outcome = Outcome(wanted)
        self._from = 0
        """The first record of the transition under way; a way back belongs to what it undoes."""

    def run(self) -> Outcome:
        """Bring the component to the wanted stage, or leave traffic where it is and say why.

        Raises nothing that a cutover can explain: errors become the outcome.
        """
        outcome = self._outcome
        try:
            self._c.lock.acquire(self._c.component, self._c.holder, self._c.timing.lock_wait, self._c.owner)
        except (LockHeld, RouteError) as error:
            outcome.verdict, outcome.message = CouldNotCheck.verdict, str(error)
            self._refused()
            outcome.unaudited = auditing.close(self._c.audit, self._c.say)
            return outcome
        try:
            with self._c.lock_kept():
                if (route := self._c.read()) is not None:
                    auditing.complete(self._c.audit, route)
                self._follow(plan(route, outcome.wanted, emergency=self._emergency, component=self._c.component))
        except ImpossiblePlan as error:
            outcome.verdict, outcome.message = StepFailed.verdict, f"{error}. Nothing was changed"
            self._refused()
        except (CutoverError, *UNCHECKED) as error:
            outcome.verdict = error.verdict if isinstance(error, CutoverError) else CouldNotCheck.verdict
            outcome.message = str(error)
        finally:
            # While the lock is held: the next run of this component then finds in the log what this one did.
            outcome.unaudited = auditing.close(self._c.audit, self._c.say)
            self._c.lock.release(self._c.component, self._c.holder)
        outcome.stage = self._c.seen.route.stage if self._c.seen.route else None
        return outcome

    def _refused(self) -> None:
        self._note(Kind.REFUSED, {"to": self._outcome.wanted.value, "detail": self._outcome.message})

    def _note(self, kind: Kind, data: Mapping[str, object]) -> None:
        self._c.audit.note(kind, self._c.component, data)

    def _follow(self, todo: Plan) -> None:
        route = self._c.seen.route
        flees = any(transition.flees for transition in todo.transitions)
        if route is not None and route.fence is None and not flees:
            self._readmit()
        if todo.undo:
            self._undo_cut_off()
        if route is not None and not flees and self._steps.added_topics():
            self._transition(Transition(route.stage, route.stage, ADDITION))
        settles = route is not None and route.stranded and not self._emergency  # then that comes before anything else
        due = self._steps.due(self._outcome.wanted) if route is not None and not flees and not settles else ()
        if route is not None and due:
            self._transition(Transition(route.stage, route.stage, due))
        if todo.empty:
            if not due:
                self._c.say(f"{self._c.component.value} is at {self._outcome.wanted.value}: nothing to do")
                if said := self._steps.tidy():
                    self._c.say(f"  {said}")
            if route is not None and route.stranded:
                self._c.say("  something is still stranded: take emergency out of config once its backend is back")
            return
        if todo.watched and self._c.route.progress is not None:  # what was due may have watched to the end
            self._c.say(self._why_watched())
            self._transition(todo.watched)
        for transition in self._left():
            self._transition(transition)

    def _undo_cut_off(self) -> None:
        self._c.say("an earlier switch was cut off before it opened: undoing it")
        fence = self._c.route.fence
        self._c.say(f"  {self._steps.undo()}")
        detail = f"of a run that was cut off, {fence.holder}, since {fence.since}" if fence is not None else ""
        stage = self._c.route.stage.value
        told = {"from": stage, "to": stage, "epoch": self._c.route.epoch, "outcome": "undone", "detail": detail}
        self._note(Kind.ENDED, told)

    def _left(self) -> tuple[Transition, ...]:
        route, wanted = self._c.seen.route, self._outcome.wanted
        return transitions(route, wanted, emergency=self._emergency, component=self._c.component)

    def _readmit(self) -> None:
        try:
            self._steps.readmit()
        except (EventBusError, PostgresError) as error:
            # Where nothing has to be done, a backend that is away must not make a run fail.
            self._c.say(f"  whether the serving backend takes writers is not known: {error}")

    def _why_watched(self) -> str:
        route = self._c.route
        if route.progress is not None and route.progress.step == WATCH_FAILED:
            failed = next((entry for entry in reversed(route.history) if entry.outcome == "failed"), None)
            why = f" ({failed.detail.partition(chr(10))[0]})" if failed is not None else ""
            return (
                f"the switch to {route.stage.value} failed its post-checks, and could not be switched back{why}: "
                "watching it again"
            )
        return "an earlier switch was cut off while it was watched: watching it to the end"

    def _transition(self, transition: Transition) -> None:
        name = transition.name
        self._c.say(f"{self._c.component.value}: {name}")
        self._begun(transition)
        began = self._c.now()
        opened = Step.OPEN not in transition.steps
        try:
            for step in transition.steps:
                self._step(name, transition, step)
                opened = opened or step is Step.OPEN
        except Exception as error:
            self._recover(transition, error, opened and Step.WATCH in transition.steps, self._c.now() - began)
            raise
        self._remember(transition, HOLDS, "", self._c.now() - began)

    def _begun(self, transition: Transition, *, back: bool = False) -> None:
        route, origin = self._c.seen.route, transition.origin
        told = {
            "from": origin.value if origin is not None else None,
            "to": transition.goal.value,
            "epoch": route.epoch if route is not None else 0,
            "wanted": self._outcome.wanted.value,
            "emergency": self._emergency,
        }
        self._from = self._from if back else len(self._outcome.records)
        self._note(Kind.BEGUN, {**told, "back": True} if back else told)

    def _step(self, name: str, transition: Transition, step: Step) -> None:
        self._c.check_stop()
        began, at = self._c.now(), self._c.clock()
        outcome, detail = "error", ""
        try:
            detail = self._steps.steps[step](transition)
            outcome = HOLDS
        except CutoverError as error:
            outcome, detail = error.verdict, str(error)
            raise
        except UNCHECKED as error:
            outcome, detail = CouldNotCheck.verdict, str(error)
            raise
        finally:
            seconds = self._c.now() - began
            self._outcome.records.append(StepRecord(name, step.value, outcome, detail, seconds, self._c.take_checks()))
            self._c.say(_told(step, outcome, seconds, detail))
            if step is Step.COMPARE:
                verdicts.keep(self._c, transition, outcome, detail, at)

    def _recover(self, transition: Transition, error: Exception, opened: bool, seconds: float) -> None:
        """Put traffic where it is safe: undo before the opening, switch back after it."""
        if self._overtaken():
            self._ended_aside(transition, "overtaken", str(error), seconds)
            return
        if opened:
            if isinstance(error, Interrupted):
                self._c.say("  stopped while watching: the new side serves; pulumi up again watches to the end")
                self._ended_aside(transition, "interrupted", str(error), seconds)
                return
            if (transition.origin, transition.goal) in TABLES[self._c.component].final:
                self._c.say(f"  post-checks failed: {self._c.route.active} serves all the same, as it was asked to")
                self._remember(transition, "failed", str(error), seconds)
                return
            self._switch_back(transition)
            return
        route = self._c.read()
        if route is not None and route.fence is not None:
            self._c.say(f"  undone: {self._steps.undo()}")
        fled = transition.flees and self._c.route.stage is transition.goal
        self._remember(transition, "fled, not counted" if fled else "undone", str(error), seconds)

    def _overtaken(self) -> bool:
        """Whether another run has taken over: then it has both backends in hand, and undoes what it finds."""
        lost = self._c.lost_lock.is_set()
        if lost:
            self._c.say("  the switch lock went to another run: nothing more is touched by this one")
        return lost

    def _switch_back(self, transition: Transition) -> None:
        if transition.origin is None:
            return
        # What was watched at one stage gave the new side more of the traffic there: it loses all of it.
        to = Stage.SHADOW if transition.origin is transition.goal else transition.origin
        self._c.say(f"  post-checks failed: switching back to {to.value}")
        self._c.write(self._c.route.model_copy(update={"progress": None}))
        back = path(transition.goal, to, self._c.component)[0]
        name = f"{transition.goal.value} -> {to.value} (back)"
        self._begun(back, back=True)
        began = self._c.now()
        try:
            # Without preflight: it held on the way here, and what it may find now is no reason to stay.
            for step in (*TABLES[self._c.component].back, *back.steps):
                if step is not Step.PREFLIGHT:
                    self._step(name, back, step)
        except Exception as error:
            if self._overtaken():
                self._ended_aside(back, "overtaken", str(error), self._c.now() - began)
                raise
            route = self._c.read()
            if route is not None and route.fence is not None:
                self._c.say(f"  undone: {self._steps.undo()}")
            self._remember(back, "failed", str(error), self._c.now() - began)
            self._leave_unproven(transition)
            raise
        self._remember(back, "switched back", "post-checks failed", self._c.now() - began)

    def _leave_unproven(self, transition: Transition) -> None:
        """The switch that should have been undone stands: the next run shall not take it for a good one."""
        route = self._c.route
        if route.stage is transition.goal and route.progress is None:
            left = Progress(from_stage=transition.origin, to_stage=transition.goal, step=WATCH_FAILED, since=utc_now())
            self._c.write(route.model_copy(update={"progress": left}))

    def _remember(self, transition: Transition, outcome: str, detail: str, seconds: float) -> None:
        route = self._c.seen.route
        if route is None:
            return
        entry = _entry(route, transition, outcome, detail, seconds)
        self._c.write(_settled(route).with_history(entry))
        self._ended(entry)

    def _ended_aside(self, transition: Transition, outcome: str, detail: str, seconds: float) -> None:
        """Of an end that the route's history has no entry of, for another run comes to it."""
        if (route := self._c.seen.route) is not None:
            self._ended(_entry(route, transition, outcome, detail, seconds))

    def _ended(self, entry: HistoryEntry) -> None:
        steps = [record.told for record in self._outcome.records[self._from :]]
        self._note(Kind.ENDED, {**auditing.ended(entry), "steps": steps})


def _entry(route: Route, transition: Transition, outcome: str, detail: str, seconds: float) -> HistoryEntry:
    return HistoryEntry(
        at=utc_now(),
        from_stage=transition.origin,
        to_stage=transition.goal,
        epoch=route.epoch,
        outcome=outcome,
        detail=detail[:500],
        seconds=round(seconds, 3),
    )


def validate(context: Context, steps: Steps, checked: Sequence[Step] = CHECKED) -> Outcome:
    """Check the component as it stands by the steps `checked`, changing nothing but what is kept of the comparison, its
    verdict first: its backends and adapters, and, where two are in step, that both hold, or answer, the same."""
    route = context.read()
    if route is None:
        return Outcome(Stage.MVP, None, CouldNotCheck.verdict, "no route was written yet: the Transition has not run")
    auditing.complete(context.audit, route)
    outcome = Outcome(route.stage, route.stage)
    here = Transition(route.stage, route.stage, ())
    checks = [step for step in checked if step is not Step.COMPARE or in_step(route)]
    try:
        added = steps.added_topics()
    except CutoverError as error:
        return Outcome(route.stage, route.stage, error.verdict, str(error))
    if added:
        missing = f"the topics {', '.join(added)} are in config and not on the event bus yet. Run pulumi up"
        return Outcome(route.stage, route.stage, StepFailed.verdict, missing)
    for step in checks:
        began, at = context.now(), context.clock()
        verdict, detail = HOLDS, ""
        try:
            detail = steps.steps[step](here)
        except (CutoverError, *UNCHECKED) as error:
            verdict = error.verdict if isinstance(error, CutoverError) else CouldNotCheck.verdict
            detail = str(error)
            if outcome.verdict != StepFailed.verdict:  # what does not hold outweighs what could not be checked
                outcome.verdict = verdict
            outcome.message = f"{outcome.message}\n{detail}" if outcome.message else detail
        seconds = context.now() - began
        outcome.records.append(
            StepRecord(route.stage.value, step.value, verdict, detail, seconds, context.take_checks())
        )
        context.say(_told(step, verdict, seconds, detail))
        if step is Step.COMPARE:
            verdicts.keep_checked(context, route, verdict, detail, at)
    if route.fence is not None and outcome.verdict == HOLDS:
        outcome.verdict = "does not hold"
        outcome.message = f"a fence stands since {route.fence.since}: publishers hold. Run pulumi up to undo or resume"
    return outcome


def _told(step: Step, outcome: str, seconds: float, detail: str) -> str:
    """A step on one line; what it has to say beyond that comes at the run's end."""
    return f"  {step.value:<16} {outcome:<10} {seconds:7.3f} s  {detail.partition('\n')[0]}"


def _settled(route: Route) -> Route:
    """The route without progress of steps that left nothing to resume."""
    progress: Progress | None = route.progress
    if progress is not None and progress.step not in (Step.WATCH, WATCH_FAILED):
        return route.model_copy(update={"progress": None})
    return route
