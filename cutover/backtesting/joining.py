"""Before a switch: preflight, the first route, and a second engine that does a sample of the runs, too."""

from __future__ import annotations

from adapters.backtesting.jobs import JobRefused, JobsUnavailable
from contracts.backtests import BacktestAsked
from contracts.routes import Route
from contracts.stages import serving_backend
from cutover.backtesting import preflight
from cutover.backtesting.due import sample_at
from cutover.backtesting.work import COMPONENT, SEE_SERVICE, BacktestWork
from cutover.context import CouldNotCheck, StepFailed
from cutover.plan import Transition
from cutover.refusing import tell
from validation.backtesting import suite


class Joining:
    """The steps that bring an engine in."""

    def __init__(self, work: BacktestWork) -> None:
        self._w = work
        self._c = work.context

    def preflight(self, transition: Transition) -> str:
        """All that must hold before anything is touched, each item on a line."""
        found = preflight.examine(self._w, transition)
        self._c.checks.extend(found)
        return tell(found, self._c.say)

    def establish(self, transition: Transition) -> str:
        """Write the first route, at the wanted stage."""
        stage = transition.goal
        active = serving_backend(COMPONENT, stage)
        sample = sample_at(stage, self._w.moving)
        self._c.write(Route(component=COMPONENT, stage=stage, active=active, epoch=1, sample=sample))
        return f"{active} serves"

    def start_mirror(self, transition: Transition) -> str:
        """Let the other engine do a sample of the runs, too, when nobody waits; and be asked by name."""
        sample = sample_at(transition.goal, self._w.moving)
        if self._c.route.sample != sample:
            self._c.write(self._c.route.model_copy(update={"sample": sample}))
        return f"{sample or 0:g} % of the runs are done by {self._w.passive}, too"

    def warm_up(self, transition: Transition) -> str:
        """Wait until the other engine has done a run."""
        engine, began = self._w.passive, self._c.now()
        asked = self._small().model_copy(update={"engine": engine})
        run_once(self._w, asked, f"{engine} does a run")
        return f"{engine} has done {asked.strategy} on {asked.symbol}, {self._c.now() - began:.1f} s"

    def _small(self) -> BacktestAsked:
        asked = suite(self._w.jobs.offer())
        if not asked:
            raise StepFailed("the service has no bars to test on", "Mount a history: see docs/backtesting.md")
        return asked[0]

    def record(self, transition: Transition) -> str:
        """Write the stage that was reached."""
        sample = sample_at(transition.goal, self._w.moving)
        update = {"stage": transition.goal, "sample": sample, "progress": None}
        self._c.write(self._c.route.model_copy(update=update))
        return transition.goal.value


def run_once(work: BacktestWork, asked: BacktestAsked, what: str) -> str:
    """Have one run done; the engine that did it. The service may be away for a moment, and may not know yet that it is
    to take it. Raises StepFailed where the run fails, CouldNotCheck where it does not end."""
    context, seen = work.context, ["nothing was answered yet"]
    engine = ""

    def done() -> bool:
        nonlocal engine
        try:
            job = work.jobs.submit(asked)
        except (JobsUnavailable, JobRefused) as error:
            seen[0] = str(error)
            return False
        if job.state in ("failed", "cancelled"):
            raise StepFailed(f"{job.engine}: {asked.strategy} on {asked.symbol}: {job.state} {job.error}", SEE_SERVICE)
        seen[0], engine = f"the run is {job.state} at {job.engine}", job.engine
        return job.state == "done"

    context.until(
        done,
        work.pace.job,
        lambda: CouldNotCheck(f"{what}: not within {work.pace.job:g} s: {seen[0]}", SEE_SERVICE),
        every=0.2,
        note=lambda: f"{what}: {seen[0]}",
    )
    return engine
