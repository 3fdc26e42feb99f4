"""Backtests as the demonstration asks for them: a pod that asks for runs and follows each to its end, and its judge."""

from __future__ import annotations

from typing import Final

from contracts import names
from local.demo.client import Client, Kind, policies_between
from local.demo.commands import Kubectl

POD_NAME: Final = "backtests-load"
HEAR_OUT_SECONDS: Final = 240
"""How long runs that are under way at the end may take, those included that only compare."""
KIND: Final = Kind(
    pod=POD_NAME,
    container="backtests",
    module="validation.backtest_load",
    variable=names.ENV_BACKTESTING_URL,
    address=f"http://{names.BACKTESTING_NAME}:{names.HTTP_PORT}",
    title="backtests begin: runs through the service's own API",
    works="accepted",
    policies=policies_between(POD_NAME, names.BACKTESTING_NAME),
    judging=lambda _: ("--wait", str(HEAR_OUT_SECONDS)),
)


class Backtests(Client):
    """One run, in its pod. `rate` in backtests a second."""

    def __init__(self, kubectl: Kubectl, run: str, rate: float) -> None:
        super().__init__(KIND, kubectl, run, rate)
