"""The pod that `crossover probes` prints: what it asks, what it may reach, and what of the engine it must not have."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from cli import probing
from cli.__main__ import app
from validation.probes.__main__ import run as run_probes
from validation.probes.asking import targets_of

ENGINE: dict[str, Any] = {
    "metadata": {"labels": {"app": "trading-engine"}},
    "spec": {
        "serviceAccountName": "trading-engine",
        "automountServiceAccountToken": True,
        "securityContext": {"runAsNonRoot": True},
        "containers": [
            {"name": "beside", "image": "other"},
            {
                "name": "trading-engine", "image": "workload:1", "imagePullPolicy": "Never",
                "env": [{"name": "DATABASE_URL", "value": "hush"}], "envFrom": [{"secretRef": {"name": "hush"}}],
                "securityContext": {"readOnlyRootFilesystem": True},
            },
        ],
    },
}  # fmt: skip


def test_the_prober_has_the_engines_image_and_bounds_and_nothing_of_its_secrets() -> None:
    policy, pod = probing.manifests(ENGINE, "ns", 20.0, 60.0)["items"]
    (container,) = pod["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("workload:1", "Never")
    assert container["securityContext"] == {"readOnlyRootFilesystem": True}
    assert pod["spec"]["securityContext"] == {"runAsNonRoot": True}
    assert not pod["spec"]["automountServiceAccountToken"] and "hush" not in json.dumps(pod)
    assert pod["metadata"]["labels"] == {"app": "api-probes", "crossover.dev/http-client": "true"}
    assert policy["spec"]["podSelector"] == {"matchLabels": {"app": "api-probes"}}
    assert pod["metadata"]["namespace"] == policy["metadata"]["namespace"] == "ns"


def test_it_asks_each_service_where_its_policy_lets_it() -> None:
    policy, pod = probing.manifests(ENGINE, "ns", 20.0, 60.0)["items"]
    (container,) = pod["spec"]["containers"]
    assert container["command"][2:4] == ["validation.probes", run_probes.__name__]
    given = [*container["args"]]
    asked = targets_of([given[at + 1] for at, word in enumerate(given) if word == "--target"])
    (going,) = policy["spec"]["egress"]
    reached = going["to"][0]["podSelector"]["matchExpressions"][0]["values"]
    assert [one.service for one in asked] == reached
    assert all(f"//{one.service}:{going['ports'][0]['port']}/" in one.url for one in asked)


def test_the_command_prints_what_kubectl_takes(monkeypatch: Any) -> None:
    monkeypatch.setattr(probing, "connect", lambda context: None)
    monkeypatch.setattr(probing, "pods_of", lambda api, namespace, name: ENGINE)
    printed = CliRunner().invoke(app, ["probes", "--namespace", "ns", "--rate", "5"])
    assert json.loads(printed.output) == probing.manifests(ENGINE, "ns", 5.0, 3600.0)
