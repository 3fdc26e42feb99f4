"""Conversations as the demonstration holds them: a pod that asks through the services' own API, and its judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from contracts import names
from local.demo.client import Client, Kind
from local.demo.commands import Kubectl

POD_NAME: Final = "llm-load"
HEAR_OUT_SECONDS: Final = 150
"""How long an answer that is under way at the end may take: longer than the load itself waits for one."""


def policies_between(load_name: str, server: str) -> Sequence[Mapping[str, Any]]:
    """What lets the load `load_name` call `server` over HTTP, and nobody else, where network policies are enforced."""
    load = {"podSelector": {"matchLabels": {"app": load_name}}}
    called = {"podSelector": {"matchLabels": {"app": server}}}
    ports = [{"port": names.HTTP_PORT, "protocol": "TCP"}]
    rules: dict[str, dict[str, Any]] = {
        load_name: {**load, "policyTypes": ["Egress"], "egress": [{"to": [called], "ports": ports}]},
        f"{load_name}-calls": {**called, "policyTypes": ["Ingress"], "ingress": [{"from": [load], "ports": ports}]},
    }
    return [
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}
        for name, spec in rules.items()
    ]


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
