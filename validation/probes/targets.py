"""What is asked of the example services: of their APIs, not of their health. The engine's answer comes from its
database."""

from __future__ import annotations

from typing import Final

from contracts import names

PATHS: Final = {
    names.TRADING_ENGINE_NAME: "/positions?limit=1",
    names.LLM_ORCHESTRATOR_NAME: "/v1/models",
    names.BACKTESTING_NAME: "/offer",
    names.MARKET_FEED_NAME: "/feed",
}


def addresses() -> tuple[str, ...]:
    """NAME=URL of each, as a pod of their namespace has it."""
    return tuple(f"{service}=http://{service}:{names.HTTP_PORT}{path}" for service, path in PATHS.items())
