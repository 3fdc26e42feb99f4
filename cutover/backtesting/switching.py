"""Which engine takes new runs: the gate before, the one write, and that the service follows and works."""

from __future__ import annotations

import hashlib

from adapters.backtesting.jobs import JobsError
from contracts.backtests import BacktestAsked
from contracts.stages import Stage
from cutover import fence, verdicts
from cutover.backtesting.due import due, sample_at
from cutover.backtesting.joining import run_once
from cutover.backtesting.work import NEW, OLD, SEE_SERVICE, BacktestWork
from cutover.context import CouldNotCheck, Evidence, StepFailed
from cutover.plan import Step, Transition
from cutover.refusing import refuse
from validation.backtesting import asked_of_both, compare_backtesting_engines, suite
from validation.result import Report
from validation.verdicts import moment


class Switching:
    """The steps between which who serves changes. `open` is the write that does it: runs under way end where they
    began."""

    def __init__(self, work: BacktestWork) -> None:
        self._w = work
        self._c = work.context

    def compare(self, transition: Transition) -> str:
        """The gate: the shipped suite and the user's own newest runs, done by both engines. By a verdict that was kept
        by a run that was cut off they need not be done again, where the same would be asked."""
        try:
            asked = asked_of_both(self._w.jobs, self._w.moving.gate.jobs)
            kept, digest = verdicts.sparing(self._c, transition), _digest(asked)
            if kept is not None and kept.fingerprint == digest:
                self._c.evidence = Evidence(spared=True)
                return f"compared at {moment(kept.at)}, by a run that was cut off: {kept.detail}"
            self._c.evidence = Evidence(fingerprint=digest)
            report = self._compared(asked)
        except JobsError as error:
            raise CouldNotCheck(f"the service: {error}", SEE_SERVICE) from error
        for name, value in sorted(report.figures.items()):
            self._c.say(f"    {name}: {value:g}")
        self._c.checks.extend(report.checks)
        refuse(self._c.checks, "comparison")
        figures = report.figures
        return (
            f"{figures['compared']:g} backtests are the same by both: {figures['orders']:g} orders, "
            f"{figures['bars']:g} bars, equity {figures['largest_distance']:.1e} apart at most"
        )

    def _compared(self, asked: list[BacktestAsked]) -> Report:
        return compare_backtesting_engines(
            self._w.jobs,
            (OLD, NEW),
            asked,
            seconds=self._w.pace.gate,
            tolerance=self._w.moving.gate.tolerance,
            stop=self._c.check_stop,
            note=lambda line: self._c.say(f"  {line}"),
            rest=self._c.rest,
            now=self._c.now,
        )

    def open(self, transition: Transition) -> str:
        """Name the other engine in one write."""
        route, new = self._c.route, self._w.passive
        update = {
            "stage": transition.goal,
            "active": new,
            "epoch": route.epoch + 1,
            "sample": sample_at(transition.goal, self._w.moving),
            "progress": fence.progress(transition, Step.WATCH),
        }
        self._c.write(route.model_copy(update=update))
        return f"{new} takes new runs, epoch {route.epoch + 1}"

    def acknowledge(self, transition: Transition) -> str:
        """Wait until every live service sends new runs by this route."""
        fence.await_followed(self._c)
        return f"{len(self._w.told())} services follow epoch {self._c.route.epoch}"

    def watch(self, transition: Transition) -> str:
        """See that new runs are taken by the engine that came to serve, and done, for a time. Raises StepFailed where
        one fails that would not have failed before: the suite's do not."""
        active, ends, count = self._c.route.active, self._c.now() + self._c.timing.watch, 0
        first = suite(self._w.jobs.offer())
        while count == 0 or self._c.now() < ends:
            # Another amount of cash is another run: one that is known would only be read.
            plain = first[count % len(first)]
            cash = plain.initial_cash + self._c.route.epoch + count / 1024
            took = run_once(self._w, plain.model_copy(update={"initial_cash": cash}), "a run after the switch")
            if took != active:
                raise StepFailed(f"a new run went to {took}, and {active} serves", SEE_SERVICE)
            count += 1
            self._c.check_stop()
            self._c.rest(self._c.timing.watch_pace)
        self._c.write(self._c.route.model_copy(update={"progress": None}))
        failed = sum(int(status.get(f"{active}.failed", "0")) for status in self._w.told().values())
        return f"{count} runs of its own were done by {active}; {failed} of callers' failed there"

    def due(self, wanted: Stage) -> tuple[Step, ...]:
        """What config asks for at the stage that holds: see due.py."""
        return due(self._c.route, wanted, self._w.moving)

    def shift(self, transition: Transition) -> str:
        """Write the sample of config."""
        sample = sample_at(self._c.route.stage, self._w.moving)
        self._c.write(self._c.route.model_copy(update={"sample": sample}))
        return f"{sample or 0:g} % are done by both"


def _digest(asked: list[BacktestAsked]) -> str:
    """Of what is compared, whatever its order."""
    told = sorted(one.identity("", ()) for one in asked)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:32]
