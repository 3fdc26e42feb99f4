"""What the API server's objects come to: nodes, pods, volumes; and that of Secrets only names are asked for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.routes import kubernetes_resources
from adapters.routes.base import RouteMissing
from adapters.routes.kubernetes_resources import KubernetesResources, pod_facts
from adapters.routes.resources import Node, Volume
from adapters.routes.rest import Answer

MIB = float(1 << 20)


class Api:
    """Answers by path; what was asked for is kept, with its form."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    def call(self, api: object, method: str, path: str, *, query: Any = (), accept: str = "", **_: Any) -> Answer:
        assert method == "GET"
        self.asked.append((path, accept))
        onward = dict(query).get("continue", "")
        if path + onward not in self.answers:
            raise RouteMissing(f"{path}: not found")
        found = self.answers[path + onward]
        return Answer(found if isinstance(found, bytes) else _Json(found), {})


class _Json(bytes):
    def __new__(cls, value: Any) -> _Json:
        return super().__new__(cls, json.dumps(value).encode())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    def made(answers: dict[str, Any]) -> tuple[KubernetesResources, Api]:
        api = Api(answers)
        monkeypatch.setattr(kubernetes_resources, "call", api.call)
        return KubernetesResources("trading", None), api

    return made


def node(name: str, *, ready: str = "True", **spec: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": "False"}]
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {"allocatable": {"cpu": "3920m", "memory": "1048576Ki"}, "conditions": conditions},
    }


def test_nodes_come_a_page_at_a_time_with_what_they_give(asked: Any) -> None:
    taint = {"key": "gpu", "effect": "NoSchedule"}
    soft = {"key": "spot", "effect": "PreferNoSchedule"}
    resources, _ = asked(
        {
            "/api/v1/nodes": {"items": [node("a", taints=[soft])], "metadata": {"continue": "-2"}},
            "/api/v1/nodes-2": {
                "items": [node("b", unschedulable=True), node("c", taints=[taint]), node("d", ready="Unknown")]
            },
        }
    )
    found = resources.nodes()
    assert found[0] == Node("a", True, True, 3.92, 1024 * MIB)
    assert [(one.name, one.ready, one.takes_pods) for one in found[1:]] == [
        ("b", True, False), ("c", True, False), ("d", False, True)
    ]  # fmt: skip


POD: dict[str, Any] = {
    "metadata": {"name": "engine-1", "labels": {"app": "trading-engine"}},
    "spec": {
        "nodeName": "a",
        "containers": [
            {
                "name": "c",
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
                "ports": [{"name": "http", "containerPort": 8000}],
                "envFrom": [{"secretRef": {"name": "client"}}, {"secretRef": {"name": "maybe", "optional": True}}],
                "env": [{"name": "U", "valueFrom": {"secretKeyRef": {"name": "url", "key": "u"}}}, {"name": "v"}],
            }
        ],
        "volumes": [{"name": "k", "secret": {"secretName": "keys"}}, {"name": "e", "emptyDir": {}}],
    },
    "status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
        "containerStatuses": [
            {
                "restartCount": 2,
                "state": {"running": {}},
                "lastState": {
                    "terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-05-01T11:00:00Z"}
                },
            }
        ],
    },
}


def test_a_pod_tells_what_it_asks_for_needs_and_died_of() -> None:
    found = pod_facts(POD)
    assert (found.app, found.ready, found.node, found.cpu, found.memory) == (
        "trading-engine", True, "a", 0.1, 128 * MIB
    )  # fmt: skip
    assert (found.limit, dict(found.ports)) == (512 * MIB, {"http": 8000})
    assert found.secrets == {"client", "url", "keys"}
    assert (found.restarts, found.killed) == (2, (datetime(2026, 5, 1, 11, tzinfo=UTC), "OOMKilled"))
    assert found.waits == "" and not found.over


@pytest.mark.parametrize(
    ("status", "waits"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}]},
            "Unschedulable: 0/1",
        ),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}]},
            "CrashLoopBackOff: back-off",
        ),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        ({}, ""),
    ],
)
def test_why_a_pod_does_not_run(status: dict[str, Any], waits: str) -> None:
    assert pod_facts({"metadata": {"name": "p"}, "status": status}).waits == waits


def test_without_a_limit_in_every_container_there_is_none() -> None:
    containers = [{"name": "a", "resources": {"limits": {"memory": "1Gi"}}}, {"name": "b"}]
    assert pod_facts({"metadata": {"name": "p"}, "spec": {"containers": containers}}).limit == 0


def test_of_secrets_only_names_are_asked_for(asked: Any) -> None:
    path = "/api/v1/namespaces/trading/secrets"
    resources, api = asked({path: {"items": [{"metadata": {"name": "a"}}]}})
    assert resources.secrets() == {"a"}
    assert api.asked == [(path, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")]


def test_what_is_not_served_is_said_to_be_missing(asked: Any) -> None:
    resources, _ = asked({})
    for ask in (resources.memory_used, resources.alerts, resources.storage_classes):
        with pytest.raises(RouteMissing):
            ask()
    assert resources.scales() is False


def test_usage_volumes_classes_alerts_and_metrics(asked: Any) -> None:
    claims = [
        {"pvcRef": {"name": "data", "namespace": "trading"}, "usedBytes": 10, "capacityBytes": 100},
        {"pvcRef": {"name": "other", "namespace": "else"}, "usedBytes": 10, "capacityBytes": 100},
        {"name": "tmp", "usedBytes": 1, "capacityBytes": 2},
        {"pvcRef": {"name": "untold", "namespace": "trading"}},
    ]
    group = {"rules": [{"alert": "A"}, {"record": "r"}]}
    resources, _ = asked(
        {
            "/apis/metrics.k8s.io/v1beta1/namespaces/trading/pods": {
                "items": [{"metadata": {"name": "p"}, "containers": [{"usage": {"memory": "64Mi", "cpu": "1m"}}]}]
            },
            "/api/v1/nodes/a/proxy/stats/summary": {"pods": [{"volume": claims}, {}]},
            "/apis/storage.k8s.io/v1/storageclasses": {
                "items": [
                    {"metadata": {"name": "x", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}},
                    {"metadata": {"name": "y"}},
                ]
            },
            "/apis/monitoring.coreos.com/v1/prometheusrules": {"items": [{"spec": {"groups": [group]}}]},
            "/apis/karpenter.sh": {},
            "/api/v1/namespaces/trading/pods/p:8000/proxy/metrics": b"a 1\n",
        }
    )
    assert resources.memory_used() == {"p": 64 * MIB}
    assert resources.volumes("a") == [Volume("data", 10.0, 100.0)]
    assert resources.storage_classes() == {"x": True, "y": False}
    assert resources.alerts() == {"A"} and resources.scales()
    assert resources.metrics("p", 8000) == "a 1\n"
