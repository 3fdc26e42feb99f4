"""Each engine by our adapter, and as its own users ask it: the same bars, strategy, sizes, costs and fills.

By hand there are no limits, no log, and one instrument; and, for Nautilus, no equity but the last. Both begin with
arrays. Costs are left out: Nautilus rounds fees to the cent, and the adapter does not.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

from adapters.backtesting import Rules, open_engine
from adapters.backtesting.bars import Bars
from adapters.backtesting.strategies import SmaCross
from benchmarks.backtest_bars import minutes
from benchmarks.frame import Figure, ratios, spread, take_turns
from contracts.backtests import SizeKind

BARS, ROUNDS = 50_000, 7
FAST, SLOW, UNITS, CASH = 20, 100, 100.0, 1_000_000.0
RULES = Rules(initial_cash=CASH, size_kind=SizeKind.UNITS, size=UNITS, max_position_size=1e12, max_drawdown=1.0)


def figures() -> list[Figure]:
    """Ratios of run times, and that both come to the same."""
    bars = minutes(BARS)
    found = []
    for engine, by_hand, limit, apart in (
        ("nautilus", nautilus_by_hand(bars), 1.05, 1e-9),
        # VectorBT's means are running sums, which drift: where both are the same, one falls on another side.
        ("vectorbt", vectorbt_by_hand(bars), 1.1, 1e-5),
    ):
        ours = open_engine(engine)
        runs = take_turns(
            ROUNDS,
            {
                "ours": _timed(lambda ours=ours: ours.run(SmaCross(FAST, SLOW), [bars], RULES).equity[-1]),  # type: ignore[misc]
                "by hand": _timed(by_hand),
            },
        )
        ends = {name: run[0][1] for name, run in runs.items()}
        ratio = ratios([took for took, _ in runs["ours"]], [took for took, _ in runs["by hand"]])
        seconds = spread([took for took, _ in runs["ours"]])
        found += [
            Figure(
                figure=f"{engine}: run time by the adapter : by hand", value=ratio.median, unit="x", limit=limit,
                at_most=True, how=f"{BARS:,} minute bars, sma {FAST}/{SLOW}, next open; {ratio.text}",
            ),
            Figure(
                figure=f"{engine}: by the adapter", value=BARS / seconds.median, unit="bars/s", at_most=False,
                how=f"{seconds.text} seconds",
            ),
            Figure(
                figure=f"{engine}: final equity apart", value=abs(ends["ours"] / ends["by hand"] - 1), unit="of it",
                limit=apart, at_most=True, how="the same work: by the adapter and by hand",
            ),
        ]  # fmt: skip
    return found


def _timed(work: Callable[[], float]) -> Callable[[], tuple[float, float]]:
    def run() -> tuple[float, float]:
        began = time.perf_counter()
        found = work()
        return time.perf_counter() - began, found

    return run


def vectorbt_by_hand(bars: Bars) -> Callable[[], float]:
    """Signals of two moving averages, one bar later, at the open: what VectorBT's documents show."""

    def run() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            close, opens = pd.Series(bars.close), pd.Series(bars.open)
            fast, slow = vbt.MA.run(close, FAST), vbt.MA.run(close, SLOW)
            held = fast.ma_above(slow)
            portfolio = vbt.Portfolio.from_signals(
                close, held.vbt.fshift(1, fill_value=False), (~held).vbt.fshift(1, fill_value=False),
                price=opens, size=UNITS, size_type="amount", init_cash=CASH, freq="1min",
            )  # fmt: skip
            worth = portfolio.value()
            portfolio.orders.values  # noqa: B018 - what a user would read
            return float(worth.iloc[-1])

    return run


def nautilus_by_hand(bars: Bars) -> Callable[[], float]:
    """A strategy of Nautilus' own kind, with two of its averages, that trades at the next bar's open: a quote a bar."""

    def run() -> float:
        engine = BacktestEngine(
            BacktestEngineConfig(
                logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig(bypass=True),
                run_analysis=False,
            )
        )  # fmt: skip
        engine.add_venue(
            Venue("SIM"), OmsType.NETTING, AccountType.MARGIN, [Money(CASH, USD)], base_currency=USD,
            default_leverage=Decimal(1), bar_execution=False, use_message_queue=False,
        )  # fmt: skip
        instrument = Equity(
            InstrumentId(Symbol("WALK"), Venue("SIM")), Symbol("WALK"), USD, 2, Price(0.01, 2), Quantity(1, 0), 0, 0
        )
        engine.add_instrument(instrument)
        trader = _Crosses(instrument)
        engine.add_strategy(trader)
        opened, closed = bars.opened.astype(np.uint64), bars.closed.astype(np.uint64)
        many = np.full(len(bars), 1e9)
        quotes = QuoteTick.from_raw_arrays_to_list(
            instrument.id, 2, 0, bars.open, bars.open, many, many, opened, opened
        )
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        made = Bar.from_raw_arrays_to_list(trader.kind, 2, 0, *columns, closed, closed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine.add_data(quotes + made, sort=True)
            engine.run()
        left = trader.portfolio.net_position(instrument.id)
        worth = trader.portfolio.account(Venue("SIM")).balance_total(USD).as_double()
        held = engine.cache.positions_open()
        worth += sum(position.unrealized_pnl(Price(bars.close[-1], 2)).as_double() for position in held)
        assert float(left) in (0.0, UNITS)
        engine.dispose()
        return float(worth)

    return run


class _Crosses(Strategy):  # type: ignore[misc] # it has no types
    """Long while the fast average lies above the slow one."""

    def __init__(self, instrument: Any) -> None:
        super().__init__(StrategyConfig(strategy_id="HAND-1"))
        self._instrument = instrument
        self.kind = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
        self._fast, self._slow = SimpleMovingAverage(FAST), SimpleMovingAverage(SLOW)
        self._wanted = self._held = False

    def on_start(self) -> None:
        """See Nautilus."""
        self.register_indicator_for_bars(self.kind, self._fast)
        self.register_indicator_for_bars(self.kind, self._slow)
        self.subscribe_bars(self.kind)
        self.subscribe_quote_ticks(self._instrument.id)

    def on_bar(self, bar: Any) -> None:
        """See Nautilus."""
        if self._slow.initialized:
            self._wanted = self._fast.value > self._slow.value

    def on_quote_tick(self, tick: Any) -> None:
        """See Nautilus."""
        if self._wanted != self._held:
            side = OrderSide.BUY if self._wanted else OrderSide.SELL
            self._held = self._wanted
            self.submit_order(self.order_factory.market(self._instrument.id, side, Quantity(UNITS, 0)))
