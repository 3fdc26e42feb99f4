"""Conversations as the demonstration holds them: a pod that asks through the services' own API, and its judge."""

from __future__ import annotations

from typing import Final

from contracts import names
from local.demo.client import Client, Kind, policies_between
from local.demo.commands import Kubectl

POD_NAME: Final = "llm-load"
HEAR_OUT_SECONDS: Final = 150
"""How long an answer that is under way at the end may take: longer than the load itself waits for one."""


KIND: Final = Kind(
    pod=POD_NAME,
    container="chat",
    module="validation.chat",
    variable=names.ENV_LLM_ORCHESTRATOR_URL,
    title="conversations begin: calls through the services' own API",
    works="whole",
    policies=policies_between(POD_NAME, names.LLM_ORCHESTRATOR_NAME),
    judging=lambda _: ("--wait", str(HEAR_OUT_SECONDS)),
)


class Chats(Client):
    """One run, in its pod. `rate` in calls a second."""

    def __init__(self, kubectl: Kubectl, run: str, rate: float) -> None:
        super().__init__(KIND, kubectl, run, rate)
