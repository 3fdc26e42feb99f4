"""What doctor and preflight ask a cluster, asked of a real API server: each answers, or is said not to be served."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from kubernetes import client

from adapters.routes.base import RouteMissing
from adapters.routes.kubernetes import connect
from adapters.routes.kubernetes_resources import KubernetesResources

pytestmark = pytest.mark.e2e


@pytest.fixture
def namespace(cluster: object) -> Iterator[str]:
    name = f"resources-{uuid.uuid4().hex[:8]}"
    core = client.CoreV1Api(connect())
    core.create_namespace({"metadata": {"name": name}})
    core.create_namespaced_secret(name, {"metadata": {"name": "kept"}, "stringData": {"key": "hush-hush"}})
    yield name
    core.delete_namespace(name)


def test_nodes_pods_classes_and_the_names_of_secrets_are_told(namespace: str) -> None:
    resources = KubernetesResources(namespace, connect())
    nodes = resources.nodes()
    assert any(node.ready and node.takes_pods and node.cpu > 0 and node.memory > 1 << 30 for node in nodes)
    assert resources.pods() == []
    assert all(pod.node in {node.name for node in nodes} for pod in resources.pods(everywhere=True) if pod.ready)
    assert "kept" in resources.secrets()
    assert any(resources.storage_classes().values())
    for node in nodes:
        assert resources.volumes(node.name) == []  # no claim is of this namespace
    assert resources.scales() is False


def test_memory_is_told_and_what_the_local_cluster_does_not_serve_is_missing(namespace: str) -> None:
    resources = KubernetesResources(namespace, connect())
    assert resources.memory_used() == {}  # no pod is of this namespace
    with pytest.raises(RouteMissing):
        resources.alerts()
