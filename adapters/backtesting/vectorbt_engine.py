"""VectorBT as an engine. The one module that imports vectorbt, pandas-free: arrays go in and out.

VectorBT would fill at the close of the bar that decided, in fractions of a unit; the rules of base.py are
put to it as arrays: orders stand one bar later, at the open, in whole units. It has no drawdown
limit that ends trading, so a run that meets one is run again with the sale, and without what came after.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, override

from adapters.backtesting.base import BacktestEngine, EngineUnavailable, Fill, Outcome, Rules
from adapters.backtesting.strategies import Strategy, decisions
from contracts.market import Bar, Side


class VectorBTEngine(BacktestEngine):
    """See the module's text. Importing vectorbt takes seconds: make one engine a process."""

    name = "vectorbt"

    def __init__(self) -> None:
        # numba and matplotlib keep caches beside their sources, or at home: read-only in a pod.
        for variable, folder in (("NUMBA_CACHE_DIR", "numba"), ("MPLCONFIGDIR", "matplotlib")):
            os.environ.setdefault(variable, str(Path(tempfile.gettempdir()) / f"crossover-{os.getuid()}-{folder}"))
        try:
            with warnings.catch_warnings():
                # Its dependencies warn of one another's plans while they are imported.
                warnings.simplefilter("ignore")
                import numpy
                import vectorbt
        except ImportError as error:
            raise EngineUnavailable(
                f"vectorbt cannot be imported ({error}): no backtest can run. Install vectorbt from requirements.txt"
            ) from error
        self._np: Any = numpy
        self._vbt: Any = vectorbt
        self.version = str(vectorbt.__version__)

    @override
    def run(self, strategy: Strategy, bars: Sequence[Bar], rules: Rules) -> Outcome:
        np = self._np
        wanted = decisions(strategy, [bar.close for bar in bars])
        closes = np.array([bar.close for bar in bars])
        sizes = np.full(len(bars), np.nan)
        long = False
        for number, side in enumerate(wanted[:-1]):
            # Only a change of side is an order: rule 2. Where cash covered nothing, VectorBT is flat here, and
            # the sale of nothing that follows is no order for it either.
            if side is Side.BUY and not long:
                sizes[number + 1], long = rules.max_position_size // bars[number].close, True
            elif side is Side.SELL and long:
                sizes[number + 1], long = -np.inf, False
        portfolio, equity = self._portfolio(bars, closes, sizes, rules)
        halted = self._halt(equity, rules)
        if halted is not None:
            sizes[halted + 1 :] = np.nan
            sizes[halted + 1 : halted + 2] = -np.inf
            portfolio, equity = self._portfolio(bars, closes, sizes, rules)
        return Outcome(
            engine=self.name,
            engine_version=self.version,
            fills=tuple(self._fills(portfolio, bars)),
            equity=tuple(float(value) for value in equity),
            halted=bars[halted].date if halted is not None else None,
        )

    def _portfolio(self, bars: Sequence[Bar], closes: Any, sizes: Any, rules: Rules) -> tuple[Any, Any]:
        np = self._np
        sizes = np.where(sizes == 0, np.nan, sizes)  # not one unit is within the limit: no order
        with warnings.catch_warnings():
            # Compiling its kernels warns of features of numba that are to change.
            warnings.simplefilter("ignore")
            portfolio = self._vbt.Portfolio.from_orders(
                closes,
                size=sizes,
                price=np.array([bar.open for bar in bars]),
                direction="longonly",
                fees=rules.fees,
                slippage=rules.slippage,
                size_granularity=1.0,
                allow_partial=True,
                init_cash=rules.initial_cash,
                freq="1D",
            )
            return portfolio, np.asarray(portfolio.value())

    def _halt(self, equity: Any, rules: Rules) -> int | None:
        np = self._np
        highest = np.maximum(np.maximum.accumulate(equity), rules.initial_cash)
        below = np.flatnonzero(equity <= highest * (1 - rules.max_drawdown))
        return int(below[0]) if below.size else None

    def _fills(self, portfolio: Any, bars: Sequence[Bar]) -> list[Fill]:
        return [
            Fill(
                date=bars[int(record["idx"])].date,
                side=Side.BUY if record["side"] == 0 else Side.SELL,
                quantity=float(record["size"]),
                price=float(record["price"]),
                fee=float(record["fees"]),
            )
            for record in portfolio.orders.values
        ]
