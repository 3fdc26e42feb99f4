"""What the steps of the backtests' transitions share: who is who, and how long is waited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.backtesting.jobs import Jobs
from contracts.backtest_moving import BacktestMoving
from contracts.stages import BACKENDS, Component, Side, other_backend
from cutover.context import Context

COMPONENT = Component.BACKTESTING
OLD, NEW = BACKENDS[COMPONENT][Side.OLD], BACKENDS[COMPONENT][Side.NEW]
SEE_SERVICE = "See kubectl logs deployment/backtesting-service"


def other(backend: str) -> str:
    """The engine that is not `backend`."""
    return other_backend(COMPONENT, backend)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Limits in seconds. `job`: of one small run, its engine's loading included; `gate`: of all runs of the gate;
    `drain`: for runs under way at an engine that leaves."""

    job: float = 300.0
    gate: float = 1800.0
    drain: float = 1800.0


class BacktestWork:
    """One run's view of the service."""

    def __init__(self, context: Context, jobs: Jobs, moving: BacktestMoving, pace: Pace) -> None:
        self.context = context
        self.jobs = jobs
        self.moving = moving
        self.pace = pace

    @property
    def passive(self) -> str:
        """The engine that does not serve now."""
        return other(self.context.route.active)

    def told(self) -> Mapping[str, Mapping[str, str]]:
        """What each live service tells of itself, by its name."""
        records = self.context.registry.records(COMPONENT)
        return {record.name: record.status for record in records if record.live}

    def under_way(self, engine: str) -> int | None:
        """Runs that wait or run at `engine`; None where a service did not say so of this epoch."""
        epoch = str(self.context.route.epoch)
        told = list(self.told().values())
        if not told or any(status.get("epoch") != epoch for status in told):
            return None
        return sum(int(status.get(f"{engine}.under_way", "0")) for status in told)
