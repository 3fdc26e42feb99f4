"""The pod of the load: one publisher, three consumer groups, and a place to judge them from.

It is a client of the event bus like the trading engine, so it takes the engine's own way to the bus:
its image, service account, addresses and credentials are copied from that Deployment. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from contracts import names
from contracts.registry import LABEL_ADAPTER
from contracts.stages import Component

POD_NAME: Final = "event-bus-load"
GROUPS: Final = ("ledger-1", "ledger-2", "ledger-3")
"""The same in every run: a group that is left behind by an aborted run goes on in the next one, and so
never stands in the way of taking a backend out."""
EFFECTS_OF: Final = names.TRADING_ENGINE_NAME
"""The consumer group whose effects are judged in its own database."""
FOLDER: Final = "/ledger"
JUDGE: Final = "verify"
PUBLISHER: Final = "publish"
_PREFIXES = ("CROSSOVER_", "REDIS_", "KAFKA_")
_NAMES = (names.ENV_EVENT_BUS_TYPE, names.ENV_POD_NAME, names.ENV_POD_UID)


class NoTemplate(ValueError):
    """The Deployment that the load's pod is made after is not what was expected: what is missing."""


def manifest(deployment: Mapping[str, Any], *, run: str, rate: float, seconds: float) -> dict[str, Any]:
    """The pod of a run, after the trading engine's `deployment`. Raises NoTemplate."""
    template = deployment["spec"]["template"]
    spec = template["spec"]
    containers = [c for c in spec["containers"] if c.get("name") == names.TRADING_ENGINE_NAME] or spec["containers"]
    engine = containers[0]
    environment = [e for e in engine.get("env", []) if e["name"] in _NAMES or e["name"].startswith(_PREFIXES)]
    if names.ENV_ROUTES not in {e["name"] for e in environment} and not engine.get("envFrom"):
        raise NoTemplate(f"deployment {names.TRADING_ENGINE_NAME} does not set {names.ENV_ROUTES}: it follows no route")
    shared = {
        "image": engine["image"],
        "imagePullPolicy": engine.get("imagePullPolicy", "IfNotPresent"),
        "env": environment,
        "envFrom": engine.get("envFrom", []),
        "securityContext": engine.get("securityContext", {}),
        "volumeMounts": [{"name": "ledger", "mountPath": FOLDER}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the pod
    }
    options = ["--folder", f"{FOLDER}/{run}", "--run", run]
    schedule = ["--rate", f"{rate:g}", "--seconds", f"{seconds:g}"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD_NAME, "labels": _labels(template)},
        "spec": {
            "restartPolicy": "Never",  # a ledger that was cut off proves nothing, whoever goes on
            "terminationGracePeriodSeconds": 20,
            "serviceAccountName": spec.get("serviceAccountName", "default"),
            "automountServiceAccountToken": True,  # it follows the route
            "enableServiceLinks": False,
            "securityContext": spec.get("securityContext", {}),
            "imagePullSecrets": spec.get("imagePullSecrets", []),
            "containers": [
                _container(shared, PUBLISHER, ["publish", *options, *schedule, *_groups()], cpu="250m"),
                *(_container(shared, group, ["consume", *options, "--group", group], cpu="100m") for group in GROUPS),
                _container(
                    shared | {"env": [*environment, *_database(engine)]}, JUDGE, ["keep"], cpu="20m", memory="1Gi"
                ),
            ],
            "volumes": [
                {"name": "ledger", "emptyDir": {"sizeLimit": "2Gi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            ],
        },
    }


def policies() -> list[dict[str, Any]]:
    """What lets the judge read the engine's database through the pooler, where network policies are enforced.
    Everything else the pod may do as any client of the bus may."""
    load = {"podSelector": {"matchLabels": {"app": POD_NAME}}}
    pooler = {"podSelector": {"matchLabels": {"app": names.POOLER_NAME}}}
    ports = [{"port": names.POOLER_PORT, "protocol": "TCP"}]
    rules: dict[str, dict[str, Any]] = {
        POD_NAME: {**load, "policyTypes": ["Egress"], "egress": [{"to": [pooler], "ports": ports}]},
        f"{POD_NAME}-database": {**pooler, "policyTypes": ["Ingress"], "ingress": [{"from": [load], "ports": ports}]},
    }
    return [
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}
        for name, spec in rules.items()
    ]


def _container(
    shared: Mapping[str, Any], name: str, arguments: Sequence[str], *, cpu: str, memory: str = "512Mi"
) -> dict[str, Any]:
    """`cpu` is a share as a trading service would have it: where the machine is full, copying and comparing
    wait for the load, not the other way round."""
    return {
        **shared,
        "name": name,
        "command": ["python", "-m", "validation.load", *arguments],
        "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}, "limits": {"memory": memory}},
    }


def _database(engine: Mapping[str, Any]) -> list[Any]:
    """The engine's way to its database, from which the judge reads what it took effect of."""
    return [entry for entry in engine.get("env", []) if entry["name"] == names.ENV_DATABASE_URL]


def _groups() -> list[str]:
    return [part for group in GROUPS for part in ("--group", group)]


def _labels(template: Mapping[str, Any]) -> dict[str, str]:
    """The engine's labels, but for those by which its Service and Deployment find it: network policies
    that let the engine reach the bus by other labels hold for the load as well."""
    copied = {
        name: value
        for name, value in template.get("metadata", {}).get("labels", {}).items()
        if value != names.TRADING_ENGINE_NAME
    }
    return {**copied, "app": POD_NAME, LABEL_ADAPTER: Component.EVENT_BUS.slug}


def judging(run: str, *, min_rate: float, windows: Mapping[str, tuple[int, int]], wait: float) -> list[str]:
    """The command that judges a run from within its pod."""
    spans = [part for name, (start, end) in windows.items() for part in ("--window", f"{name}={start}:{end}")]
    return [
        "python", "-m", "validation.load", "verify", "--folder", f"{FOLDER}/{run}", "--json",
        "--min-rate", f"{min_rate:g}", "--wait", f"{wait:g}", "--effects-of", EFFECTS_OF, *_groups(), *spans,
    ]  # fmt: skip
