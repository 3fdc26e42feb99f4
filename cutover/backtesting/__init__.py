"""The effects of the backtests' transitions, one method a step of cutover/tables.py."""

from __future__ import annotations

from adapters.backtesting.jobs import Jobs
from contracts.backtest_moving import BacktestMoving
from cutover.backtesting.joining import Joining
from cutover.backtesting.leaving import Leaving
from cutover.backtesting.switching import Switching
from cutover.backtesting.work import BacktestWork, Pace
from cutover.context import Context
from cutover.plan import Step, StepMethod


class BacktestSteps:
    """All steps of one run, over shared state."""

    def __init__(self, context: Context, jobs: Jobs, moving: BacktestMoving, pace: Pace | None = None) -> None:
        work = BacktestWork(context, jobs, moving, pace or Pace())
        joining, switching, leaving = Joining(work), Switching(work), Leaving(work)
        self.due = switching.due
        self.tidy = leaving.tidy
        self.steps: dict[Step, StepMethod] = {
            Step.PREFLIGHT: joining.preflight,
            Step.ESTABLISH: joining.establish,
            Step.START_MIRROR: joining.start_mirror,
            Step.WARM_UP: joining.warm_up,
            Step.RECORD: joining.record,
            Step.COMPARE: switching.compare,
            Step.OPEN: switching.open,
            Step.ACKNOWLEDGE: switching.acknowledge,
            Step.SHIFT: switching.shift,
            Step.WATCH: switching.watch,
            Step.RETIRE: leaving.retire,
        }

    def undo(self) -> str:
        """Nothing: no fence is ever set."""
        return "nothing to undo"

    def readmit(self) -> str:
        """Nothing: neither engine was ever shut."""
        return "both engines take runs"

    def added_topics(self) -> tuple[str, ...]:
        """None: backtests have no topics."""
        return ()

    def close(self) -> None:
        """Nothing: connections are made anew for each question."""


__all__ = ["BacktestSteps", "Pace"]
