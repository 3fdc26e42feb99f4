"""Routes, registry and lock on a real API server keep the routes contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from kubernetes import client

from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect
from adapters.routes.kubernetes_lock import KubernetesLock
from contracts.routes import route_name
from contracts.stages import Component
from tests.contract.routes_contract import Routes, RoutesContract

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def api(cluster: object) -> client.ApiClient:
    return connect()


class TestKubernetesRoutes(RoutesContract):
    @pytest.fixture
    def routes(self, api: client.ApiClient) -> Iterator[Routes]:
        core = client.CoreV1Api(api)
        namespace = f"routes-{uuid.uuid4().hex[:8]}"
        core.create_namespace({"metadata": {"name": namespace}})
        core.create_namespaced_config_map(namespace, {"metadata": {"name": route_name(Component.EVENT_BUS)}})
        registry = KubernetesRegistry(namespace, api)
        yield Routes(KubernetesRouteStore(namespace, api), registry, KubernetesLock(namespace, api), registry)
        core.delete_namespace(namespace)
