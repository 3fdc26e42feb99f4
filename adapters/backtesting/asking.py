"""From a request to what an engine is given."""

from __future__ import annotations

from adapters.backtesting.base import Rules
from adapters.backtesting.strategies import Strategy, legs, make_strategy
from contracts.backtests import BacktestAsked, SizeKind


def rules_of(asked: BacktestAsked) -> Rules:
    """The rules that are asked for."""
    sizing = asked.sizing
    return Rules(
        initial_cash=asked.initial_cash,
        fees=asked.fees,
        fee_per_order=asked.fee_per_order,
        slippage=asked.slippage,
        tick=asked.tick_size or 0.0,
        lot=asked.lot_size,
        size_kind=SizeKind.VALUE if sizing is None else sizing.kind,
        size=None if sizing is None else sizing.amount,
        execution=asked.execution,
        max_position_size=asked.max_position_size,
        on_position=asked.on_position,
        max_drawdown=asked.max_drawdown,
        on_drawdown=asked.on_drawdown,
    )


def strategy_of(asked: BacktestAsked) -> Strategy:
    """The strategy that is asked for. Raises ValueError."""
    return make_strategy(asked.strategy, asked.parameters)


def check_legs(asked: BacktestAsked) -> None:
    """Raise ValueError where the strategy, which there is, trades another number of symbols than are named."""
    wanted = legs(asked.strategy)
    if wanted != len(asked.symbols):
        fix = "Leave `against` out" if wanted == 1 else "Name the second in `against`"
        raise ValueError(f"{asked.strategy} trades {wanted} symbols, {len(asked.symbols)} are named. {fix}")
