"""Probes as the journey's tests make them: a pod that asks each service at a fixed pace, and its judge."""

from __future__ import annotations

from typing import Final

from contracts import names
from local.demo.client import Client, Kind, policies_between
from local.demo.commands import Kubectl
from validation.probes.targets import PATHS, addresses

POD_NAME: Final = "api-probes"
RATE: Final = 20.0
"""Of each service, a second: one each 50 ms."""
KIND: Final = Kind(
    pod=POD_NAME,
    container="probes",
    module="validation.probes",
    variable=names.ENV_PROBES,
    address=" ".join(addresses()),
    title="probes begin: each service is asked each 50 ms",
    works=" asked, ",
    policies=policies_between(POD_NAME, *PATHS),
    judging=lambda _: tuple(part for service in PATHS for part in ("--service", service)),
)


class Probes(Client):
    """One run, in its pod. `rate` of each service a second."""

    def __init__(self, kubectl: Kubectl, run: str, rate: float = RATE) -> None:
        super().__init__(KIND, kubectl, run, rate)
