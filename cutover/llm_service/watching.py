"""Post-checks under traffic: what orchestrators tell of the side that came to serve, against a budget."""

from __future__ import annotations

import statistics

from adapters.known import Unknown
from cutover import fence
from cutover.context import CouldNotCheck, StepFailed
from cutover.llm_service import asking
from cutover.llm_service.aside import Aside
from cutover.llm_service.figures import Asked, Figures, Judgement, figures, judged, slower, too_slow
from cutover.llm_service.switching import Switching
from cutover.llm_service.work import SEE_ORCHESTRATOR, LlmWork, other
from cutover.plan import Transition
from validation.result import Check, Verdict

_MOST_QUESTIONS = 10
"""At a time, where a small canary gets few of them."""


class Watching:
    """Watches a switch. What crosses the budget is seen within a renewal of the adapters' figures; no data is no pass.

    Callers' calls are what is judged. Where they make too few the watch asks the orchestrator itself, as a caller, so
    that a quiet system can be switched, too; and it asks both sides a few prompts of the quality gate. All of that is
    asked beside the loop: what hangs where callers hang must not keep it from seeing that they do."""

    def __init__(self, work: LlmWork, switching: Switching) -> None:
        self._w = work
        self._c = work.context
        self._switching = switching
        self._asked = Asked()
        self._asking: Aside[Asked] | None = None
        self._next_question = 0.0

    def watch(self, transition: Transition) -> str:
        """Raises StepFailed where the budget is crossed, CouldNotCheck where too little is known to say."""
        self._asked, self._asking, self._next_question = Asked(), None, 0.0
        fence.await_followed(self._c)
        back, budget = transition.goes_back, self._w.moving.budget
        sample = None if back or not budget.sample else Aside("quality-sample", self._sample)
        # Figures are as old as the last renewal: those of the last seconds have to come, too.
        ends = self._c.now() + self._c.timing.watch + self._w.pace.told
        while True:
            found = self._figures(self._c.route.active)
            old_p50 = None if back else self._old_p50()
            judgement = judged(found, old_p50, self._asked, budget)
            now = self._c.now()
            if judgement.verdict is Verdict.DOES_NOT_HOLD:
                raise StepFailed(f"{self._c.route.active}: {judgement.found}", SEE_ORCHESTRATOR)
            sampled = "" if sample is None else self._told_of(sample)
            over = now >= ends + self._w.pace.quiet
            if judgement.verdict is Verdict.HOLDS and now >= ends and (sampled is not None or over):
                break
            if over:
                raise self._too_little(judgement)
            self._ask(found)
            self._c.check_stop()
            self._c.rest(self._c.timing.watch_pace)  # the pace of the checks
        told = "" if back or (old_p50 is not None and found.p50 is not None) else self._compare_directly()
        self._c.write(self._c.route.model_copy(update={"progress": None}))
        return f"{judgement.found}{told}{'; its quality was not sampled in time' if sampled is None else sampled}"

    def _sample(self) -> list[Check]:
        """What a few prompts show of each pair of models."""
        count = self._w.moving.budget.sample
        return [self._w.judges.sample(old, new, count) for old, new in self._switching.pairs()]

    def _told_of(self, sample: Aside[list[Check]]) -> str | None:
        """What the sample found, for people; None while it is not over. Raises StepFailed where it shows that the side
        which came to serve is worse. One that could not be made moves no traffic: the gate has judged before."""
        if not sample.ended():
            return None
        checks = sample.result()
        for check in checks:
            if check.outcome is Verdict.DOES_NOT_HOLD:
                raise StepFailed(f"{self._c.route.active}: {check.name}: {check.found}", check.fix)
        return "".join(f"; {check.name}: {check.found or check.detail}" for check in checks)

    def _figures(self, backend: str) -> Figures:
        return figures(self._c.registry.records(self._c.component), backend, self._c.route.epoch)

    def _old_p50(self) -> float | None:
        """The median of the side that served: now, where it still answers a part or gets samples, or as it was told
        before the switch."""
        least = self._w.moving.budget.calls
        for found in (self._figures(other(self._c.route.active)), self._switching.before):
            if found is not None and found.asked >= least and found.p50 is not None:
                return found.p50
        return None

    def _too_little(self, judgement: Judgement) -> CouldNotCheck:
        live = [record for record in self._c.registry.records(self._c.component) if record.live]
        silent = [record.name for record in live if record.status.get("epoch") != str(self._c.route.epoch)]
        why = f"; {', '.join(silent)} tell nothing of this epoch" if silent else ""
        return CouldNotCheck(f"{self._c.route.active}: {judgement.found}{why}", SEE_ORCHESTRATOR)

    def _ask(self, found: Figures) -> None:
        """Put questions to the orchestrator: one now and then, and as many as it takes while too few answers are
        known. Each is a conversation of its own, so that a canary gets its part."""
        if self._asking is not None:
            if not self._asking.ended():
                return
            self._asked += self._asking.result()
            self._asking = None
        now = self._c.now()
        if now < self._next_question:
            return
        self._next_question = now + self._w.pace.question
        share = max(1, self._c.route.share or 100)
        few = found.answered < self._w.moving.budget.calls
        count = min(_MOST_QUESTIONS, round(100 / share)) if few else 1
        epoch, first = self._c.route.epoch, self._asked.questions
        self._asking = Aside("watch-questions", lambda: self._questions(epoch, first, count))

    def _questions(self, epoch: int, first: int, count: int) -> Asked:
        """Ask `count` questions, one after the other."""
        asked = Asked()
        for number in range(first, first + count):
            user = f"crossover-watch-{epoch}-{number}"
            (answer,) = asking.generations([self._w.front], self._w.pace.answer, user=user).values()
            wrong = answer.why if isinstance(answer, Unknown) else answer
            asked += Asked(1, int(bool(wrong)), wrong)
        return asked

    def _compare_directly(self) -> str:
        """Both sides' first tokens, like with like, where callers' calls do not tell: callers were few, or the run
        that knew how it was before was cut off. A side that is not there any more cannot be compared with; to go back
        to it would help nobody."""
        budget, route = self._w.moving.budget, self._c.route
        medians: dict[str, float] = {}
        for backend in (other(route.active), route.active):
            found = asking.first_tokens(asking.distinct(self._w.models[backend]), budget.calls, self._w.pace.answer)
            unknown = [fact.why for fact in found.values() if isinstance(fact, Unknown)]
            if unknown and backend == route.active:
                raise StepFailed(f"{backend} does not answer: {'; '.join(unknown)}", SEE_ORCHESTRATOR)
            if unknown:
                return f"; its first token could not be compared, for {backend} does not answer: {'; '.join(unknown)}"
            medians[backend] = statistics.mean(fact for fact in found.values() if not isinstance(fact, Unknown))
        new, old = medians[route.active], medians[other(route.active)]
        if too_slow(new, old, budget):
            raise StepFailed(f"{route.active}: {slower(new, old, budget)}", "See its load, and its logs")
        return f"; asked directly, the first token takes {new:.0f} ms, {old:.0f} ms at {other(route.active)}"
