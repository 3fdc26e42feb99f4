"""The trading engine's settings."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from adapters.backtesting.strategies import SmaCross
from contracts.names import (
    ENV_COMMENT_INTERVAL,
    ENV_CONSUMER_GROUP,
    ENV_DATABASE_URL,
    ENV_LLM_ORCHESTRATOR_URL,
    TRADING_ENGINE_NAME,
)
from services.common.settings import Env, EnvSettings


class TradingSettings(EnvSettings):
    """See each field. The event bus reads its own variables (adapters/event_bus/factory.py)."""

    database_url: Annotated[
        SecretStr, Env(ENV_DATABASE_URL, "postgresql://user:password@host:port/name (memory: keeps nothing)")
    ]
    """Where positions and orders are kept."""
    llm_url: Annotated[str | None, Env(ENV_LLM_ORCHESTRATOR_URL, "http://llm-orchestrator:8000/v1")] = Field(
        None, pattern="^https?://"
    )
    """The chat API that comments on signals. None: no comments."""
    comment_interval: Annotated[float, Env(ENV_COMMENT_INTERVAL, "seconds, above 0")] = Field(5.0, gt=0)
    """The least time between two questions, in seconds: comments must not outrun a small model."""
    comment_timeout: Annotated[float, Env("TRADING_COMMENT_TIMEOUT_SECONDS", "seconds, above 0")] = Field(20.0, gt=0)
    """The longest wait for one comment, in seconds."""
    group: Annotated[str, Env(ENV_CONSUMER_GROUP, "a consumer group's name")] = TRADING_ENGINE_NAME
    """The consumer group on `market_data`, and the owner of claims in the ledger of effects."""
    max_batch: Annotated[int, Env("TRADING_MAX_BATCH", "a whole number from 1 to 5000")] = Field(500, ge=1, le=5000)
    """The most events in one transaction."""
    fast: Annotated[int, Env("TRADING_SMA_FAST", "a number of bars, at least 1")] = Field(10, ge=1)
    """Bars in the fast average."""
    slow: Annotated[int, Env("TRADING_SMA_SLOW", "a number of bars above TRADING_SMA_FAST")] = Field(30, le=1000)
    """Bars in the slow average."""
    notional: Annotated[float, Env("TRADING_POSITION_NOTIONAL", "an amount above 0")] = Field(100_000.0, gt=0)
    """What a position may cost at the price of its signal, in the instrument's currency."""
    retention_hours: Annotated[float, Env("TRADING_RETENTION_HOURS", "hours, at least 1")] = Field(168.0, ge=1)
    """How long claims and sent outbox events are kept, in hours. Must exceed the time after which the
    bus may deliver an event again: an event whose claim is forgotten would take effect a second time."""

    @model_validator(mode="after")
    def _averages_can_cross(self) -> Self:
        if self.fast >= self.slow:
            raise ValueError(
                f"TRADING_SMA_FAST={self.fast} and TRADING_SMA_SLOW={self.slow}: the averages could never cross. "
                "Set TRADING_SMA_SLOW above TRADING_SMA_FAST"
            )
        return self

    @property
    def strategy(self) -> SmaCross:
        """The strategy that these settings make."""
        return SmaCross(self.fast, self.slow)
