"""The market feed's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from adapters.csv_bars import SHIPPED, parse_sources
from contracts.names import ENV_MARKET_FEED_CSV, ENV_MARKET_FEED_RATE
from services.common.settings import Env, EnvSettings


class FeedSettings(EnvSettings):
    """See each field. The event bus reads its own variables (adapters/event_bus/factory.py)."""

    rate: Annotated[float, Env(ENV_MARKET_FEED_RATE, "events per second, from 0 to 20000")] = Field(
        10.0, ge=0, le=20_000, allow_inf_nan=False
    )
    """Events per second over all keys. 0: publish nothing, but stay up."""
    csv: Annotated[str | None, Env(ENV_MARKET_FEED_CSV, "SYMBOL=/path/bars.csv[.gz], comma-separated")] = None
    """The files to publish. None: the shipped bars of the S&P 500 and the NASDAQ."""

    @field_validator("csv")
    @classmethod
    def _can_be_read_as_sources(cls, value: str | None) -> str | None:
        if value is not None:
            parse_sources(value)
        return value

    @property
    def sources(self) -> Mapping[str, Path]:
        """Symbol -> file."""
        return parse_sources(self.csv) if self.csv is not None else SHIPPED
