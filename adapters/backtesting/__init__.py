"""Backtests: strategies written once, engines behind one interface."""

from __future__ import annotations

import importlib.util

from adapters.backtesting.base import BacktestEngine, BacktestError, EngineUnavailable, Fill, Outcome, Rules

ENGINES = ("vectorbt", "nautilus", "memory")
"""What `open_engine` knows."""

__all__ = [
    "ENGINES",
    "BacktestEngine",
    "BacktestError",
    "EngineUnavailable",
    "Fill",
    "Outcome",
    "Rules",
    "engine_problem",
    "open_engine",
]


def open_engine(name: str) -> BacktestEngine:
    """The engine `name`. Raises EngineUnavailable. May take seconds: engines are large packages."""
    if name == "vectorbt":
        from adapters.backtesting.vectorbt_engine import VectorBTEngine

        return VectorBTEngine()
    if name == "nautilus":
        from adapters.backtesting.nautilus_engine import NautilusEngine

        return NautilusEngine()
    if name == "memory":
        from adapters.backtesting.memory import ReferenceEngine

        return ReferenceEngine()
    raise EngineUnavailable(f"{name!r} is no backtesting engine: no backtest can run. Use one of {', '.join(ENGINES)}")


def engine_problem(name: str) -> str | None:
    """Why the engine `name` cannot be here; None where its package is installed. Imports nothing: cheap."""
    package = {"vectorbt": "vectorbt", "nautilus": "nautilus_trader"}.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        return f"{package} is not installed: every backtest would fail. Use an image that has it (requirements.txt)"
    return None
