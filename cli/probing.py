"""`crossover probes`: the pod that asks each service each 50 ms, for kubectl to make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from adapters.routes.kubernetes import connect
from adapters.routes.workloads import pods_of
from cli.options import Context, Namespace
from contracts import names
from validation.probes.targets import PATHS, addresses

POD = "api-probes"
FOLDER = "/probes"
_KEPT = ("serviceAccountName", "securityContext", "imagePullSecrets")
_KEPT_OF_CONTAINER = ("image", "imagePullPolicy", "securityContext")


def probes(
    rate: Annotated[float, typer.Option(help="Probes a second of each service.", min=0.01, max=1000)] = 20.0,
    seconds: Annotated[float, typer.Option(help="At most so long.", min=1)] = 3600.0,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Print the pod that asks each service's API at a fixed pace, and its network policy, for `kubectl apply -f -`.

    What to do with it: docs/api-compatibility.md.
    """
    print(
        json.dumps(manifests(pods_of(connect(context), namespace, names.TRADING_ENGINE_NAME), namespace, rate, seconds))
    )


def manifests(engine: Mapping[str, Any], namespace: str, rate: float, seconds: float) -> dict[str, Any]:
    """The objects, as a List. `engine`: the template of the trading engine's pods, whose image, account and security
    settings the prober has, but no token and no variable of its."""
    spec = engine["spec"]
    template = next(one for one in spec["containers"] if one["name"] == names.TRADING_ENGINE_NAME)
    targets = [part for address in addresses() for part in ("--target", address)]
    container = {
        **{key: template[key] for key in _KEPT_OF_CONTAINER if key in template},
        "name": "probes",
        "command": ["python", "-m", "validation.probes", "run", "--folder", FOLDER],
        "args": ["--rate", f"{rate:g}", "--seconds", f"{seconds:g}", *targets],
        "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "768Mi"}},
        "volumeMounts": [{"name": "kept", "mountPath": FOLDER}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the pod
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": namespace, "labels": {"app": POD, names.LABEL_HTTP_CLIENT: "true"}},
        "spec": {
            **{key: spec[key] for key in _KEPT if key in spec},
            "restartPolicy": "Never",  # a run that was cut off proves nothing, whoever goes on
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 15,
            "containers": [container],
            "volumes": [{"name": "kept", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "tmp", "emptyDir": {}}],
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [_policy(namespace), pod]}


def _policy(namespace: str) -> dict[str, Any]:
    """Lets it call the services, and nobody else; they let in whoever has its label."""
    among = {"key": "app", "operator": "In", "values": list(PATHS)}
    going = {
        "to": [{"podSelector": {"matchExpressions": [among]}}],
        "ports": [{"port": names.HTTP_PORT, "protocol": "TCP"}],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": POD, "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": {"app": POD}}, "policyTypes": ["Egress"], "egress": [going]},
    }
