"""Who serves, and how much of it: the gate before, the one write, and that every adapter follows."""

from __future__ import annotations

from contracts.stages import Stage
from cutover import fence, verdicts
from cutover.context import Evidence, StepFailed
from cutover.llm_service.aside import Aside
from cutover.llm_service.asking import Model
from cutover.llm_service.due import due, sample_at, share_at
from cutover.llm_service.figures import Figures, figures
from cutover.llm_service.gate import fingerprint
from cutover.llm_service.work import HOSTED, OURS, LlmWork, other
from cutover.plan import Step, Transition
from cutover.refusing import refuse
from validation.result import Report
from validation.verdicts import moment


class Switching:
    """The steps between which who serves changes. `open` and `shift` are the writes that do it. `before`: what was told
    of the side that served, until then; None where it is not known any more."""

    def __init__(self, work: LlmWork) -> None:
        self._w = work
        self._c = work.context
        self.before: Figures | None = None

    def compare(self, transition: Transition) -> str:
        """The quality gate: whether our own models may take the place of the hosted ones. By a verdict that was kept by
        a run that was cut off they need not be asked again, where all is as it was then."""
        pairs, kept = self.pairs(), verdicts.sparing(self._c, transition)
        digest = fingerprint(pairs, self._w.moving)
        if kept is not None and kept.fingerprint == digest:
            self._c.evidence = Evidence(spared=True)
            return f"judged at {moment(kept.at)}, by a run that was cut off: {kept.detail}"
        self._c.evidence = Evidence(fingerprint=digest)
        for old, new in pairs:
            report = self._judged(old, new)
            for name, value in sorted(report.figures.items()):
                self._c.say(f"    {name}: {value:g}")
            self._c.checks.extend(report.checks)
        refuse(self._c.checks, "quality")
        return f"{len(self._c.checks)} items hold of {', '.join(new.name for _, new in pairs)}"

    def pairs(self) -> list[tuple[Model, Model]]:
        """What stands for an alias at both sides, each pair once."""
        found: dict[object, tuple[Model, Model]] = {}
        for alias, old in self._w.models[HOSTED].items():
            new = self._w.models[OURS].get(alias)
            if new is None:
                raise StepFailed(
                    f"our own models do not answer as {alias}, which the hosted side does: calls for it would fail",
                    f"Set crossover:llm_service.own.models.{alias}",
                )
            found.setdefault((old.place, new.place), (old, new))
        return list(found.values())

    def _judged(self, old: Model, new: Model) -> Report:
        """The gate's report. A run that is asked to stop does not wait for it."""
        judging = Aside("quality-gate", lambda: self._w.judges.judge(old, new))
        while not judging.ended(0.2):
            self._c.check_stop()
        return judging.result()

    def open(self, transition: Transition) -> str:
        """Name the other side in one write. Calls under way end where they began."""
        route, new = self._c.route, self._w.passive
        self.before = None if transition.goes_back else self._figures(self._w.active)
        epoch, share = route.epoch + 1, share_at(transition.goal, self._w.moving)
        update = {
            "stage": transition.goal,
            "active": new,
            "epoch": epoch,
            "share": share,
            "sample": sample_at(transition.goal, self._w.moving),
            "progress": fence.progress(transition, Step.WATCH),
        }
        self._c.write(route.model_copy(update=update))
        return f"{new} serves {100 if share is None else share} %, epoch {epoch}"

    def _figures(self, backend: str) -> Figures:
        return figures(self._c.registry.records(self._c.component), backend, self._c.route.epoch)

    def acknowledge(self, transition: Transition) -> str:
        """Wait until every live adapter sends new calls by this route."""
        fence.await_followed(self._c)
        live = [record for record in self._c.registry.records(self._c.component) if record.live]
        return f"{len(live)} adapters follow epoch {self._c.route.epoch}"

    def due(self, wanted: Stage) -> tuple[Step, ...]:
        """What config asks for at the stage that holds: see due.py."""
        return due(self._c.route, wanted, self._w.moving)

    def shift(self, transition: Transition) -> str:
        """Write the percentages of config. Another share is another epoch: figures begin anew, and are watched."""
        route, moving = self._c.route, self._w.moving
        share, sample = share_at(route.stage, moving), sample_at(route.stage, moving)
        update: dict[str, object] = {"share": share, "sample": sample}
        if share != route.share:
            self.before = self._figures(other(route.active))
            update |= {"epoch": route.epoch + 1, "progress": fence.progress(transition, Step.WATCH)}
        self._c.write(route.model_copy(update=update))
        return f"{route.active} answers {100 if share is None else share} %, {sample or 0:g} % are sampled"

    def undo(self) -> str:
        """Nothing: no fence is ever set."""
        return "nothing to undo"

    def readmit(self) -> str:
        """Nothing: neither side was ever shut."""
        return "both sides take calls"
