"""Probes as the journey's tests make them: a pod that asks each service at a fixed pace, and its judge."""

from __future__ import annotations

from typing import Final

from contracts import names
from local.demo.client import Client, Kind, policies_between
from local.demo.commands import Kubectl

POD_NAME: Final = "api-probes"
RATE: Final = 20.0
"""Of each service, a second: one each 50 ms."""
PATHS: Final = {
    names.TRADING_ENGINE_NAME: "/positions?limit=1",
    names.LLM_ORCHESTRATOR_NAME: "/v1/models",
    names.BACKTESTING_NAME: "/offer",
    names.MARKET_FEED_NAME: "/feed",
}
"""What is asked of each: of its API, not of its health. The engine's answer comes from the database."""
KIND: Final = Kind(
    pod=POD_NAME,
    container="probes",
    module="validation.probes",
    variable=names.ENV_PROBES,
    address=" ".join(f"{service}=http://{service}:{names.HTTP_PORT}{path}" for service, path in PATHS.items()),
    title="probes begin: each service is asked each 50 ms",
    works=" asked, ",
    policies=policies_between(POD_NAME, *PATHS),
    judging=lambda _: tuple(part for service in PATHS for part in ("--service", service)),
)


class Probes(Client):
    """One run, in its pod. `rate` of each service a second."""

    def __init__(self, kubectl: Kubectl, run: str, rate: float = RATE) -> None:
        super().__init__(KIND, kubectl, run, rate)
