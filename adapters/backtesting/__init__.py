"""Backtests: strategies written once, engines behind one interface."""

from __future__ import annotations

from adapters.backtesting.base import BacktestEngine, BacktestError, EngineUnavailable, Fill, Outcome, Rules

ENGINES = ("vectorbt", "memory")
"""What `open_engine` knows."""

__all__ = ["ENGINES", "BacktestEngine", "BacktestError", "EngineUnavailable", "Fill", "Outcome", "Rules", "open_engine"]


def open_engine(name: str) -> BacktestEngine:
    """The engine `name`. Raises EngineUnavailable. May take seconds: engines are large packages."""
    if name == "vectorbt":
        from adapters.backtesting.vectorbt_engine import VectorBTEngine

        return VectorBTEngine()
    if name == "memory":
        from adapters.backtesting.memory import ReferenceEngine

        return ReferenceEngine()
    raise EngineUnavailable(f"{name!r} is no backtesting engine: no backtest can run. Use one of {', '.join(ENGINES)}")
