"""The audit log on a real API server keeps its contract; who may append may not delete."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from adapters.routes.audit import SegmentedLog, Segments
from adapters.routes.base import RouteUnavailable
from adapters.routes.kubernetes import connect
from adapters.routes.kubernetes_audit import KubernetesAudit, KubernetesSegments
from components.audit_access import rights
from components.settings import parse
from contracts.audit import Kind
from tests.contract.audit_contract import AuditContract

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def api(cluster: object) -> client.ApiClient:
    return connect()


@pytest.fixture
def namespace(api: client.ApiClient) -> Iterator[str]:
    core = client.CoreV1Api(api)
    made = f"audit-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": made}})
    yield made
    core.delete_namespace(made)


def _once_bound(log: SegmentedLog) -> None:
    """A first entry, as soon as the API server has taken up who is bound."""
    deadline = time.monotonic() + 10
    while True:
        try:
            log.append(Kind.HELD, "", "Job x", {"detail": "x" * 100})
            return
        except RouteUnavailable:
            assert time.monotonic() < deadline, "the binding is not taken up"
            time.sleep(0.1)  # polling with a deadline


class TestKubernetesAudit(AuditContract):
    @pytest.fixture
    def segments(self, api: client.ApiClient, namespace: str) -> Segments:
        return KubernetesSegments(namespace, api)


def test_a_transition_may_append_and_can_neither_delete_nor_change_what_is_sealed(
    api: client.ApiClient, namespace: str
) -> None:
    settings = parse("x", {"kube_context": "x", "namespaces": {"backend": "trading", "audit": namespace}})
    access = client.RbacAuthorizationV1Api(api)
    role, binding = rights(settings)
    access.create_namespaced_role(namespace, role)
    access.create_namespaced_role_binding(namespace, binding)
    transition = connect()
    transition.set_default_header("Impersonate-User", "system:serviceaccount:trading:database-cutover")
    try:
        log = SegmentedLog(KubernetesSegments(namespace, transition), limit=900)
        _once_bound(log)
        for _ in range(5):
            log.append(Kind.HELD, "", "Job x", {"detail": "x" * 100})
        core = client.CoreV1Api(transition)
        with pytest.raises(ApiException) as caught:
            core.delete_namespaced_config_map("crossover-audit-000001", namespace)
        assert caught.value.status == 403
        with pytest.raises(ApiException) as caught:
            core.list_namespaced_config_map(namespace)
        assert caught.value.status == 403
        with pytest.raises(ApiException) as caught:
            core.list_namespaced_secret("trading")  # whether a stack stands there or not
        assert caught.value.status == 403
    finally:
        transition.rest_client.pool_manager.clear()
    whole = KubernetesAudit(namespace, api)
    assert whole.verify() is None
    assert len(whole.entries()) == 6
