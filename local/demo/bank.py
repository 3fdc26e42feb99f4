"""The bank as the demonstration handles it: a pod that transfers through the services' own address, and its judge."""

from __future__ import annotations

from typing import Final

from contracts import names
from local.demo.client import Client, Kind
from local.demo.commands import Kubectl

KIND: Final = Kind(
    pod="database-load",
    container="bank",
    module="validation.bank",
    variable=names.ENV_DATABASE_URL,
    title="the bank opens: transfers through the services' own address",
    works="acknowledged",
    labels={names.LABEL_DATABASE_CLIENT: "true"},
    judging=lambda run: ("--run", run),
)


class Bank(Client):
    """One run, in its pod. `rate` in transfers a second."""

    def __init__(self, kubectl: Kubectl, run: str, rate: float) -> None:
        super().__init__(KIND, kubectl, run, rate)
