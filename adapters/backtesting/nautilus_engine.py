"""NautilusTrader as an engine. With nautilus_catalog.py one of the two modules that import nautilus_trader.

Nautilus walks each bar open, high, low, close, and fills an order that a strategy sends at a bar's close right there.
The rules of base.py are put to it as market data: before each bar a quote of any size at the price at which orders are
done, its slippage in it, and bars that move no market. The strategy sends what it decided at a close when the next
quote comes (`next_open`), or at once, the quote being that of the close (`same_close`). What cash pays for is asked of
Nautilus' own account and positions; limits are the desk's, as in every engine.

Money and prices have twelve decimals: an account in dollars and cents would round each fee to a cent.
"""

from __future__ import annotations

import math
import warnings
from array import array
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, override

import numpy as np

from adapters.backtesting.account import Account, Held, fill_price
from adapters.backtesting.bars import Bars
from adapters.backtesting.base import BacktestEngine, BacktestError, EngineUnavailable, Fill, Outcome, Rules
from adapters.backtesting.deciding import Decider, last_decision
from adapters.backtesting.desk import Desk
from adapters.backtesting.strategies import Strategy
from contracts.backtests import Execution
from contracts.market import Side

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nautilus_trader
        from nautilus_trader.backtest.engine import BacktestEngine as Engine
        from nautilus_trader.backtest.engine import BacktestEngineConfig
        from nautilus_trader.backtest.models import FeeModel
        from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
        from nautilus_trader.model.data import Bar, BarType, QuoteTick
        from nautilus_trader.model.enums import AccountType, AssetClass, CurrencyType, OmsType, OrderSide
        from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
        from nautilus_trader.model.instruments import Cfd
        from nautilus_trader.model.objects import Currency, Money, Price, Quantity
        from nautilus_trader.trading.strategy import Strategy as NautilusStrategy
except ImportError as error:
    raise EngineUnavailable(
        f"nautilus_trader cannot be imported ({error}): no backtest can run. Install it from requirements.txt"
    ) from error

DECIMALS = 12
"""Of prices and money: below what a double tells apart from about 1,000 on."""
_CHUNK = 50_000
"""Bars that are made into Nautilus' own at a time: memory does not grow with the history."""
_VENUE = Venue("CROSSOVER")
_CURRENCY = Currency(
    code="USD.12", precision=DECIMALS, iso4217=0, name="dollar, uncut", currency_type=CurrencyType.FIAT
)
_ANY_SIZE = 1e12
_NO_FEE_PER_ORDER = "second half of one order"


class NautilusEngine(BacktestEngine):
    """See the module's text. One run at a time in a process."""

    name = "nautilus"

    def __init__(self) -> None:
        self.version = str(nautilus_trader.__version__)

    @override
    def run(self, strategy: Strategy, legs: Sequence[Bars], rules: Rules) -> Outcome:
        instruments = [_instrument(number, bars, rules) for number, bars in enumerate(legs)]
        trader = _Trader(strategy, legs, rules, instruments)
        engine = Engine(
            BacktestEngineConfig(
                logging=LoggingConfig(bypass_logging=True),
                risk_engine=RiskEngineConfig(bypass=True),
                run_analysis=False,
            )
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pandas, whose clock it asks in a way that is to go
                _run(engine, trader, legs, rules, instruments)
        finally:
            engine.dispose()
        if trader.refused:
            raise BacktestError(f"Nautilus did not do what it was sent: {trader.refused[0]}")
        return trader.outcome(self.name, self.version)


def _run(engine: Any, trader: _Trader, legs: Sequence[Bars], rules: Rules, instruments: Sequence[Any]) -> None:
    engine.add_venue(
        _VENUE,
        OmsType.HEDGING,  # a position that is opened again in netting carries its whole past along
        AccountType.MARGIN,
        [Money(rules.initial_cash, _CURRENCY)],
        base_currency=_CURRENCY,
        default_leverage=Decimal(1),
        bar_execution=False,
        use_message_queue=False,  # an order is done before the next one is sized
        fee_model=_Fees(rules),
    )
    for instrument in instruments:
        engine.add_instrument(instrument)
    engine.add_strategy(trader)
    for first, data in _data(legs, rules, instruments):
        trader.turn(first)
        engine.clear_data()
        engine.add_data(data, sort=True)
        engine.run(streaming=True)
        _forget(engine)
    engine.end()


def _forget(engine: Any) -> None:
    """Drop what Nautilus keeps of trades that are over. Its analyzer copies all of them with each new one, and nobody
    reads it: five million bars with 70,000 orders took hours."""
    engine.portfolio.analyzer.reset()
    cache, now = engine.cache, engine.kernel.clock.timestamp_ns()
    cache.purge_closed_orders(ts_now=now)
    cache.purge_closed_positions(ts_now=now)
    cache.purge_account_events(ts_now=now)


def _instrument(number: int, bars: Bars, rules: Rules) -> Any:
    decimals = _decimals(rules.lot)
    return Cfd(  # of all its instruments the plain one whose units may be fractions
        instrument_id=InstrumentId(Symbol(f"{bars.symbol}.{number}"), _VENUE),
        raw_symbol=Symbol(bars.symbol),
        asset_class=AssetClass.EQUITY,
        quote_currency=_CURRENCY,
        price_precision=DECIMALS,
        price_increment=Price(10**-DECIMALS, DECIMALS),
        size_precision=decimals,
        size_increment=Quantity(rules.lot, decimals),
        lot_size=Quantity(rules.lot, decimals),
        margin_init=Decimal(0),
        margin_maint=Decimal(0),
        ts_event=0,
        ts_init=0,
    )


def _decimals(lot: float) -> int:
    exponent = Decimal(repr(lot)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


def _data(legs: Sequence[Bars], rules: Rules, instruments: Sequence[Any]) -> Iterator[tuple[int, list[Any]]]:
    """The quotes and bars of some bars at a time, and the number of the first. Of what happens at once, leg by leg, a
    nanosecond lies between."""
    kinds = [BarType.from_str(f"{instrument.id}-1-DAY-LAST-EXTERNAL") for instrument in instruments]
    count, later = len(legs), rules.execution is Execution.NEXT_OPEN
    for first in range(0, len(legs[0]), _CHUNK):
        part = slice(first, first + _CHUNK)
        made: list[Any] = []
        for leg, bars in enumerate(legs):
            at = bars.open[part] if later else bars.close[part]
            quoted = bars.opened[part] + leg if later else bars.closed[part] - 2 * count + leg
            made += _quotes(instruments[leg], at, quoted.astype(np.uint64), rules)
            made += _bars(kinds[leg], bars, part, (bars.closed[part] - count + 1 + leg).astype(np.uint64))
        yield first, made


def _quotes(instrument: Any, at: Any, stamps: Any, rules: Rules) -> list[Any]:
    bids, asks = ([fill_price(price, side, rules) for price in at.tolist()] for side in (Side.SELL, Side.BUY))
    sizes = np.full(len(stamps), _ANY_SIZE)
    return QuoteTick.from_raw_arrays_to_list(  # type: ignore[no-any-return] # it has no types
        instrument.id, DECIMALS, instrument.size_precision, np.array(bids), np.array(asks), sizes, sizes, stamps, stamps
    )


def _bars(kind: Any, bars: Bars, part: slice, stamps: Any) -> list[Any]:
    columns = [np.ascontiguousarray(each[part]) for each in (bars.open, bars.high, bars.low, bars.close)]
    volumes = np.minimum(bars.volume[part], _ANY_SIZE)
    return Bar.from_raw_arrays_to_list(kind, DECIMALS, 0, *columns, volumes, stamps, stamps)  # type: ignore[no-any-return] # it has no types


class _Fees(FeeModel):  # type: ignore[misc] # it has no types
    """The rules' fees, unrounded."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self._rules = rules

    def get_commission(self, order: Any, fill_qty: Any, fill_px: Any, instrument: Any) -> Any:
        """See FeeModel."""
        del instrument
        fee = fill_qty.as_double() * fill_px.as_double() * self._rules.fees
        if _NO_FEE_PER_ORDER not in (order.tags or ()):
            fee += self._rules.fee_per_order
        return Money(fee, _CURRENCY)


class _Trader(NautilusStrategy):  # type: ignore[misc] # it has no types
    """Our strategy as one of Nautilus'. Prices are read from the history by the number of the bar: they are those of
    the bar that came, as they were before Nautilus made decimals of them."""

    def __init__(self, strategy: Strategy, legs: Sequence[Bars], rules: Rules, instruments: Sequence[Any]) -> None:
        super().__init__(StrategyConfig(strategy_id="CROSSOVER-1"))
        self._rules, self._instruments = rules, instruments
        self._places = {instrument.id: leg for leg, instrument in enumerate(instruments)}
        self._legs, self._first = legs, 0
        self._rows: list[Any] = []
        self._at_open = rules.execution is Execution.NEXT_OPEN
        self._desk, self._decider = Desk(rules, len(legs)), Decider(strategy)
        self._account = Account(rules.initial_cash, [Held() for _ in legs])
        self._last, self._end = len(legs) - 1, last_decision(legs, rules)
        self._bar = 0
        self._waiting: dict[int, float] = {}
        self._positions: dict[int, Any] = {}
        self._events: list[Any] = []
        self._fills: list[Fill] = []
        self._equity = array("d")
        self.refused: list[str] = []
        """What Nautilus did not do."""

    def turn(self, first: int) -> None:
        """The bars from `first` on come next, as far as they are put to Nautilus at a time."""
        self._first, part = first, slice(first, first + _CHUNK)
        self._rows = [np.column_stack((b.open[part], b.high[part], b.low[part], b.close[part])) for b in self._legs]

    def on_start(self) -> None:
        """See Nautilus."""
        for instrument in self._instruments:
            self.subscribe_quote_ticks(instrument.id)
            self.subscribe_bars(BarType.from_str(f"{instrument.id}-1-DAY-LAST-EXTERNAL"))

    def on_quote_tick(self, tick: Any) -> None:
        """See Nautilus."""
        if self._waiting and self._at_open:
            leg = self._places[tick.instrument_id]
            if leg in self._waiting:
                self._send(leg, float(self._rows[leg][self._bar - self._first, 0]))

    def on_bar(self, bar: Any) -> None:
        """See Nautilus."""
        if self._places[bar.bar_type.instrument_id] != self._last:
            return
        prices = [rows[self._bar - self._first].tolist() for rows in self._rows]
        closes = [price[3] for price in prices]
        worth = self._worth(closes)
        drawn_down = self._desk.mark(worth)
        changes = self._decider.step(prices) if self._bar < self._end else []
        targets = self._desk.targets(self._bar, changes, worth, closes, drawn_down)
        self._waiting = dict(targets)
        if not self._at_open:
            for leg, _ in targets:
                self._send(leg, closes[leg])
            worth = self._worth(closes)
        self._equity.append(worth)
        self._bar += 1

    def on_order_filled(self, event: Any) -> None:
        """See Nautilus."""
        self._events.append(event)

    def on_order_rejected(self, event: Any) -> None:
        """See Nautilus."""
        self.refused.append(str(event))

    def on_order_denied(self, event: Any) -> None:
        """See Nautilus."""
        self.refused.append(str(event))

    def outcome(self, engine: str, version: str) -> Outcome:
        """What came of it."""
        return Outcome(
            engine=engine,
            engine_version=version,
            fills=tuple(self._fills),
            equity=tuple(self._equity),
            halted=self._desk.halted,
            log=tuple(self._desk.log),
        )

    def _worth(self, closes: Sequence[float]) -> float:
        lot = self._rules.lot
        return self._account.cash + sum(
            [held.lots * (close * lot) for held, close in zip(self._account.legs, closes, strict=True)]
        )

    def _send(self, leg: int, at: float) -> None:
        """The order for what waits of `leg`; it is done when this returns."""
        held, lot = self._account.legs[leg].lots, self._rules.lot
        lots = self._waiting.pop(leg) - held
        if not lots:
            return
        side = Side.BUY if lots > 0 else Side.SELL
        price = fill_price(at, side, self._rules) * lot
        done = self._account.affordable(leg, lots, price, self._rules)
        self._desk.done(self._bar, leg, lots, done)
        if not done:
            return
        closing = min(abs(done), abs(held)) if held * done < 0 else 0.0
        self._events.clear()
        if closing:
            self._submit(leg, side, closing, None, self._positions[leg])
        if opening := abs(done) - closing:
            self._submit(leg, side, opening, [_NO_FEE_PER_ORDER] if closing else None, None)
        filled = math.fsum([event.last_qty.as_double() for event in self._events])
        if not self.refused and not math.isclose(filled, abs(done) * lot):
            self.refused.append(f"{filled:g} of {abs(done) * lot:g} units were filled in bar {self._bar}")
        if self._events:
            self._take(leg, side, filled)

    def _submit(self, leg: int, side: Side, lots: float, tags: list[str] | None, position: Any) -> None:
        instrument = self._instruments[leg]
        quantity = Quantity(lots * self._rules.lot, instrument.size_precision)
        way = OrderSide.BUY if side is Side.BUY else OrderSide.SELL
        self.submit_order(self.order_factory.market(instrument.id, way, quantity, tags=tags), position_id=position)

    def _take(self, leg: int, side: Side, filled: float) -> None:
        """Note a fill, and how Nautilus' account stands after it."""
        events = self._events
        fee = math.fsum([event.commission.as_double() for event in events])
        price = events[0].last_px.as_double()
        self._positions[leg] = events[-1].position_id
        self._fills.append(Fill(bar=self._bar, leg=leg, side=side, quantity=filled, price=price, fee=fee))
        cash = self.portfolio.account(_VENUE).balance_total(_CURRENCY).as_double()
        for instrument, held in zip(self._instruments, self._account.legs, strict=True):
            held.lots = held.debt = 0.0
            for position in self.cache.positions_open(instrument_id=instrument.id):
                value = position.signed_qty * position.avg_px_open
                held.lots += float(round(position.signed_qty / self._rules.lot))
                held.debt += max(0.0, -value)
                cash -= value
        self._account.cash = cash
