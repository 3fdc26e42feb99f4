"""VectorBT as an engine. The one module that imports vectorbt, pandas-free: arrays go in and out.

VectorBT would fill at the close of the bar that decided, in fractions of a unit; the rules of base.py are put to it as
arrays: orders stand at the bar in which they are done, at its open or its close, as lots to be held. It has no limits
that end trading or look at the account, so what a limit changes is found in its own equity, from the first close on,
put to it in place of what stood there, and run again: once where nothing was met, and once for each limit that was.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, override

import numpy as np

from adapters.backtesting import caches
from adapters.backtesting.account import fill_price, sized
from adapters.backtesting.bars import Bars, Floats
from adapters.backtesting.base import BacktestEngine, EngineUnavailable, Fill, Outcome, Rules
from adapters.backtesting.deciding import last_decision
from adapters.backtesting.desk import Change, Desk, Target
from adapters.backtesting.strategies import Strategy
from contracts.backtests import Execution, LogEvent, OnDrawdown, SizeKind
from contracts.market import Side


@dataclass(frozen=True, slots=True)
class _Decision:
    """What changes at the close of a bar."""

    bar: int
    changes: tuple[Change, ...]


@dataclass(slots=True)
class _Run:
    """What VectorBT answered. `equity` after each bar, `marks` at each close before anything was done at it; `orders`:
    lots, price a lot and fee, by bar and leg."""

    equity: Floats
    marks: Floats
    orders: Mapping[tuple[int, int], tuple[float, float, float]]


class VectorBTEngine(BacktestEngine):
    """See the module's text. Importing vectorbt takes seconds: make one engine a process."""

    name = "vectorbt"

    def __init__(self) -> None:
        for variable, folder in caches.shared().items():
            os.environ.setdefault(variable, folder)
        try:
            with warnings.catch_warnings():
                # Its dependencies warn of one another's plans while they are imported.
                warnings.simplefilter("ignore")
                import vectorbt

                from adapters.backtesting import compiled
        except ImportError as error:
            raise EngineUnavailable(
                f"vectorbt cannot be imported ({error}): no backtest can run. Install vectorbt from requirements.txt"
            ) from error
        self._vbt: Any = vectorbt
        self._compiled = compiled
        self.version = str(vectorbt.__version__)

    @override
    def run(self, strategy: Strategy, legs: Sequence[Bars], rules: Rules) -> Outcome:
        return _Trial(self._vbt, legs, rules, self._decisions(strategy, legs, rules)).outcome(self.name, self.version)

    def _decisions(self, strategy: Strategy, legs: Sequence[Bars], rules: Rules) -> list[_Decision]:
        rows = self._compiled.changes(strategy, legs)
        bars = last_decision(legs, rules)
        made: dict[int, list[Change]] = {}
        for bar, leg, direction in rows.tolist():
            if bar < bars:
                made.setdefault(int(bar), []).append((int(leg), direction))
        return [_Decision(bar, tuple(changes)) for bar, changes in made.items()]


class _Trial:
    """One run, again and again until no limit changes it any more."""

    def __init__(self, vbt: Any, legs: Sequence[Bars], rules: Rules, decisions: list[_Decision]) -> None:
        self._vbt, self._legs, self._rules = vbt, legs, rules
        self._later = int(rules.execution is Execution.NEXT_OPEN)
        self._bars = len(legs[0])
        self._lot = rules.lot
        self._closes = np.column_stack([bars.close for bars in legs])
        self._at = self._closes if not self._later else np.column_stack([bars.open for bars in legs])
        self._decisions = decisions
        self._by_equity = rules.size_kind is SizeKind.EQUITY and rules.size is not None
        self._sides: dict[tuple[int, int], Side] = {}
        """Of orders, by bar and leg, where it is not the one that their targets say."""

    def outcome(self, name: str, version: str) -> Outcome:
        pinned: dict[int, list[Target]] = {}
        while True:
            run = self._run(pinned)
            if self._mispriced(run):
                continue
            desk, due = self._walk(run, pinned)
            if due is None:
                return Outcome(
                    engine=name,
                    engine_version=version,
                    fills=tuple(self._fills(run)),
                    equity=tuple(run.equity.tolist()),
                    halted=desk.halted,
                    log=tuple(desk.log),
                )
            bar, targets = due
            pinned = {known: pin for known, pin in pinned.items() if known < bar}
            if desk.halted is not None:
                self._decisions = [one for one in self._decisions if one.bar <= bar]
                if not self._decisions or self._decisions[-1].bar < bar:
                    self._decisions.append(_Decision(bar, ()))
            elif desk.log and desk.log[-1].bar == bar:
                pinned |= self._likewise(bar, desk.log[-1].event)
            pinned[bar] = targets

    def _mispriced(self, run: _Run) -> bool:
        """Whether an order was put at the price of the other side, as where cash did not cover a short whole and the
        rest of it is covered later; the first is put right for the next run."""
        for (bar, leg), (lots, price, _) in sorted(run.orders.items()):
            side = Side.BUY if lots > 0 else Side.SELL
            if price != self._price(bar, leg, side):
                self._sides[bar, leg] = side
                return True
        return False

    def _price(self, bar: int, leg: int, side: Side) -> float:
        return fill_price(float(self._at[bar, leg]), side, self._rules) * self._lot

    def _likewise(self, bar: int, limit: LogEvent) -> dict[int, list[Target]]:
        """Decisions after `bar` as they are if the limit that was met there is met at all of them, as is likely: else
        each would be found by a run of its own. What is wrong in it the next run finds."""
        found: dict[int, list[Target]] = {}
        for decision in self._decisions:
            if decision.bar > bar:
                closes = self._closes[decision.bar] * self._lot
                found[decision.bar] = [
                    (leg, way and way * (self._rules.max_position_size // float(closes[leg])))
                    if limit is LogEvent.POSITION_CLIPPED
                    else (leg, 0.0)
                    for leg, way in decision.changes
                ]
        return found

    def _walk(self, run: _Run, pinned: Mapping[int, list[Target]]) -> tuple[Desk, tuple[int, list[Target]] | None]:
        """The limits, held against what came out; and what the first that changes something makes of its bar."""
        rules, desk = self._rules, Desk(self._rules, len(self._legs))
        highest = np.maximum(np.maximum.accumulate(run.marks), rules.initial_cash)
        drawn_down = run.marks <= highest * (1 - rules.max_drawdown)
        breach = int(np.argmax(drawn_down)) if drawn_down.any() else self._bars
        ends = breach if rules.on_drawdown is OnDrawdown.HALT else self._bars
        held = [0.0] * len(self._legs)
        for decision in self._decisions:
            bar = decision.bar
            if bar > ends:
                break
            targets = self._targets(desk, decision, run, bool(drawn_down[bar]))
            goes_on = desk.halted is not None and self._decisions[-1].bar > bar
            refused = self._by_equity and run.marks[bar] <= 0 and bar not in pinned
            if goes_on or refused or targets != pinned.get(bar, self._assumed(decision, run)):
                return desk, (bar, targets)
            self._note(desk, bar + self._later, targets, held, run)
        if desk.halted is None and ends < self._bars:
            targets = self._targets(desk, _Decision(ends, ()), run, True)
            if ends + self._later < self._bars:
                return desk, (ends, targets)
        return desk, None

    def _targets(self, desk: Desk, decision: _Decision, run: _Run, drawn_down: bool) -> list[Target]:
        bar = decision.bar
        return desk.targets(bar, decision.changes, float(run.marks[bar]), self._closes[bar].tolist(), drawn_down)

    def _assumed(self, decision: _Decision, run: _Run) -> list[Target]:
        """What a run without pins holds after `decision`."""
        equity, closes = float(run.marks[decision.bar]), self._closes[decision.bar]
        return [
            (leg, direction and direction * self._plain(float(closes[leg]), equity))
            for leg, direction in decision.changes
        ]

    def _plain(self, close: float, equity: float) -> float:
        """The size that stands in the arrays: up to its limit where that is known before, without where it is not."""
        size = sized(self._rules, equity, close, False)
        return size.wanted if self._by_equity else size.lots

    def _note(self, desk: Desk, bar: int, targets: Sequence[Target], held: list[float], run: _Run) -> None:
        """Tell the desk what became of the orders of `bar`."""
        if bar >= self._bars:
            return
        for leg, target in targets:
            lots = target - held[leg]
            if lots:
                filled = run.orders.get((bar, leg), (0.0, 0.0, 0.0))[0]
                desk.done(bar, leg, lots, filled)
                held[leg] += filled

    def _run(self, pinned: Mapping[int, list[Target]]) -> _Run:
        shape = self._closes.shape
        sizes, prices = np.full(shape, np.nan), np.full(shape, np.nan)
        kinds = np.full(shape, self._vbt.portfolio.enums.SizeType.TargetAmount)
        last = [0.0] * shape[1]
        for decision in self._decisions:
            bar, row = decision.bar, decision.bar + self._later
            fixed = pinned.get(bar)
            if row >= self._bars:
                continue
            if fixed is not None:
                orders = fixed
            elif self._by_equity:
                orders = [(leg, direction * float(self._rules.size or 0)) for leg, direction in decision.changes]
                # Nothing is nothing, and VectorBT refuses a part of an equity that is gone.
                kinds[row, [leg for leg, part in orders if part]] = self._vbt.portfolio.enums.SizeType.TargetPercent
            else:
                closes = self._closes[bar]
                orders = [(leg, way and way * self._plain(float(closes[leg]), 0.0)) for leg, way in decision.changes]
            for leg, target in orders:
                side = Side.BUY if target > last[leg] or (target == 0 and last[leg] < 0) else Side.SELL
                sizes[row, leg], last[leg] = target, target
                prices[row, leg] = self._price(row, leg, self._sides.get((row, leg), side))
        return self._answered(sizes, prices, kinds)

    def _answered(self, sizes: Floats, prices: Floats, kinds: Any) -> _Run:
        rules, closes = self._rules, self._closes * self._lot
        valued = closes
        if self._later:
            valued = np.vstack([closes[:1], closes[:-1]])
        shared = closes.shape[1] > 1  # a group of one leg would only take longer
        with warnings.catch_warnings():
            # Compiling its kernels warns of features of numba that are to change.
            warnings.simplefilter("ignore")
            portfolio = self._vbt.Portfolio.from_orders(
                closes, size=sizes, size_type=kinds, price=np.where(np.isnan(prices), closes, prices),
                val_price=valued, direction="both", fees=rules.fees, fixed_fees=rules.fee_per_order,
                size_granularity=1.0, allow_partial=True, lock_cash=True, init_cash=rules.initial_cash,
                cash_sharing=shared, group_by=shared or None, freq="1D",
            )  # fmt: skip
            records = portfolio.order_records
            equity, marks = self._worth(records, closes)
        lots = np.where(records["side"] == 0, records["size"], -records["size"])
        columns = (records["idx"], records["col"], lots, records["price"], records["fees"])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return _Run(equity, marks, {(bar, leg): (done, price, fee) for bar, leg, done, price, fee in rows})

    def _worth(self, records: Any, closes: Floats) -> tuple[Floats, Floats]:
        """The equity after each bar, and at each close with what was held before it: by the functions that
        Portfolio.value() calls, without the tables that it makes between them, which take as long as the run."""
        does, legs = self._vbt.portfolio.dispatch, closes.shape[1]
        columns = self._vbt.records.dispatch.col_map(records["col"], legs)
        lots = does.assets(does.asset_flow(closes.shape, records, columns, self._vbt.portfolio.enums.Direction.Both))
        flow = does.cash_flow(closes.shape, records, columns, False)
        if legs > 1:
            flow = does.cash_flow_grouped(flow, np.array([legs]))
        cash = does.cash(flow, np.array([self._rules.initial_cash])).reshape(-1)
        equity: Floats = cash + (lots * closes).sum(axis=1)
        if self._later:
            return equity, equity
        before = np.concatenate([[self._rules.initial_cash], cash[:-1]])
        held = np.vstack([np.zeros((1, legs)), lots[:-1]])
        marks: Floats = before + (held * closes).sum(axis=1)
        return equity, marks

    def _fills(self, run: _Run) -> list[Fill]:
        return [
            Fill(
                bar=bar,
                leg=leg,
                side=Side.BUY if lots > 0 else Side.SELL,
                quantity=abs(lots) * self._lot,
                price=price / self._lot,
                fee=fee,
            )
            for (bar, leg), (lots, price, fee) in sorted(run.orders.items())
        ]
