"""A small world for the cutover of backtests: a service in memory that follows the route."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import override

from adapters.backtesting.jobs import Job
from adapters.backtesting.memory_jobs import MemoryJobs
from adapters.routes.memory import MemoryAccess, MemoryLock, MemoryRegistry, MemoryRouteStore
from contracts.backtest_moving import BacktestMoving, Gate
from contracts.backtests import BacktestAsked, EquityPoint, FiguresModel, FillModel, Result, TradeModel
from contracts.market import Side
from contracts.registry import AdapterRecord
from contracts.routes import Route
from contracts.stages import BACKENDS, Component, Stage
from cutover.backtesting import BacktestSteps, Pace
from cutover.backtesting.preflight import NEEDED
from cutover.context import Context
from cutover.plan import Step, StepMethod, Transition
from cutover.run import Outcome, Runner
from cutover.timing import Timing
from services.backtesting_service.routing import plan_of
from tests.unit.cutover.world import QUICK

COMPONENT = Component.BACKTESTING
ENGINES = tuple(BACKENDS[COMPONENT].values())
LEGS = {"sma_cross": 1, "pair_reversion": 2}
SYMBOLS = ("SP500", "NASDAQ")
PACE = Pace(job=0.2, gate=2.0, drain=0.2)


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the runner may see it."""


def result(asked: BacktestAsked, engine: str, price: float = 10.0) -> Result:
    """A small result of `asked`, the same by each engine: bought on the second day, sold on the third."""
    days = [date(2020, 1, number) for number in (1, 2, 3)]
    at = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days]
    ends = asked.initial_cash + 10.0 - price
    equity = [asked.initial_cash, asked.initial_cash, ends]
    highest = max(equity)
    fills = [
        FillModel(symbol=asked.symbol, date=days[number], at=at[number], side=side, quantity=1.0, price=paid, fee=0.0)
        for number, side, paid in ((1, Side.BUY, price), (2, Side.SELL, 10.0))
    ]
    figures = FiguresModel(
        final_equity=ends, total_return=0.0, max_drawdown=1 - ends / highest, sharpe=None, trades=1, win_rate=None,
        fees_paid=0.0,
    )  # fmt: skip
    trade = TradeModel(
        symbol=asked.symbol, entry_date=days[1], entry_price=price, quantity=1.0, exit_date=days[2], exit_price=10.0,
        fees=0.0, pnl=10.0 - price,
    )  # fmt: skip
    return Result(
        engine=engine, engine_version="1", request=asked, bars=3, halted=None, figures=figures, trades=[trade],
        fills=fills, equity=[EquityPoint(date=d, at=a, equity=e) for d, a, e in zip(days, at, equity, strict=True)],
    )  # fmt: skip


class Service(MemoryJobs):
    """Follows the route as the real one does. `deaf`: it sees no route any more. `wrong`: an engine that pays a cent
    too much; `broken`: one whose runs fail."""

    def __init__(self, store: MemoryRouteStore) -> None:
        super().__init__(self._do, LEGS, SYMBOLS, {"vectorbt"}, "vectorbt")
        self._store = store
        self.deaf = False
        self.wrong = self.broken = ""
        self.under_way: Counter[str] = Counter()
        self.epoch = 0
        self.done: list[tuple[str, BacktestAsked]] = []

    def _do(self, asked: BacktestAsked, engine: str) -> Result:
        if engine == self.broken:
            raise RuntimeError("it is broken")
        self.done.append((engine, asked))
        return result(asked, engine, 10.01 if engine == self.wrong else 10.0)

    @override
    def submit(self, asked: BacktestAsked) -> Job:
        self.follow()
        return super().submit(asked)

    def follow(self) -> None:
        """See the route as it is now."""
        route = self._store.read(COMPONENT).route
        if route is not None and not self.deaf:
            plan = plan_of(route)
            self.engines, self.serving, self.epoch = plan.deployed, plan.active, plan.epoch

    def tell(self, registry: MemoryRegistry) -> None:
        """Renew the record."""
        self.follow()
        status = {"epoch": str(self.epoch), **{f"{e}.under_way": str(self.under_way[e]) for e in ENGINES}}
        registry.announce(COMPONENT, "pod-1.backtesting", "backtesting-service", self.epoch, status=status)


class Registry(MemoryRegistry):
    """Services renew just before they are looked at: nothing here has to wait for that."""

    services: Sequence[Service] = ()

    @override
    def records(self, component: Component) -> Sequence[AdapterRecord]:
        for service in self.services:
            service.tell(self)
        return super().records(component)


class BacktestWorld:
    """Everything but the cluster."""

    def __init__(self) -> None:
        self.store = MemoryRouteStore()
        self.registry, self.service = Registry(), Service(self.store)
        self.registry.services = (self.service,)
        self.lock = MemoryLock()
        self.cluster = MemoryAccess(NEEDED)
        self.moving = BacktestMoving(gate=Gate(jobs=2))
        self.verdict_limit = timedelta(hours=1)
        self.lines: list[str] = []
        self._runs = itertools.count(1)

    def context(self, timing: Timing = QUICK) -> Context:
        """The context of another run."""
        return Context(
            COMPONENT, self.store, self.registry, self.lock, self.cluster, timing, f"run-{next(self._runs)}",
            self.lines.append, verdict_limit=self.verdict_limit,
        )  # fmt: skip

    def migrate(
        self, stage: Stage, timing: Timing = QUICK, instead: Mapping[Step, StepMethod] | None = None
    ) -> Outcome:
        """Run a Transition Job in this thread; `instead`: what is done in place of a step."""
        context = self.context(timing)
        steps = BacktestSteps(context, self.service, self.moving, PACE)
        steps.steps.update(instead or {})
        return Runner(context, steps, stage).run()

    def killed_at(self, stage: Stage, step: Step, *, after: bool) -> bool:
        """Run a Job that dies like a killed process before or after `step`; whether it came to that."""
        context = self.context()
        steps = BacktestSteps(context, self.service, self.moving, PACE)
        real = steps.steps[step]

        def dies(transition: Transition) -> str:
            if after:
                real(transition)
            raise Killed

        try:
            steps.steps[step] = dies
            Runner(context, steps, stage).run()
        except Killed:
            self.lock = MemoryLock()
            return True
        return False

    def route(self) -> Route:
        """The route now."""
        found = self.store.read(COMPONENT).route
        assert found is not None
        return found

    def reach(self, *stages: Stage) -> None:
        """Migrate through `stages`, each of which must be reached."""
        for stage in stages:
            outcome = self.migrate(stage)
            assert outcome.reached, outcome.message
