"""What config asks of the route of backtests, and what a run does for that alone. Pure."""

from __future__ import annotations

from contracts.backtest_moving import BacktestMoving
from contracts.routes import Route
from contracts.stages import STAGE_TABLE, Stage
from cutover.tables import Step


def sample_at(stage: Stage, moving: BacktestMoving) -> float | None:
    """Of what part of the runs the other engine does, too, at `stage`, as a route has it. Where there is another engine
    that is never None: by it the service knows that both may be asked."""
    return moving.sample_percent if STAGE_TABLE[stage].follows is not None else None


def due(route: Route, wanted: Stage, moving: BacktestMoving) -> tuple[Step, ...]:
    """At the stage that holds: another sample."""
    return (Step.SHIFT,) if wanted is route.stage and route.sample != sample_at(wanted, moving) else ()
