"""What a service says of itself, through a real API server: not ready without pods, not there without a Service."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from kubernetes import client

from adapters.routes.base import RouteMissing, RouteUnavailable
from adapters.routes.kubernetes import connect
from adapters.routes.services import asked, unready
from contracts.names import HTTP_PORT

pytestmark = pytest.mark.e2e


@pytest.fixture
def namespace(cluster: object) -> Iterator[str]:
    name = f"services-{uuid.uuid4().hex[:8]}"
    core = client.CoreV1Api(connect())
    core.create_namespace({"metadata": {"name": name}})
    core.create_namespaced_service(
        name, {"metadata": {"name": "alone"}, "spec": {"selector": {"app": "none"}, "ports": [{"port": HTTP_PORT}]}}
    )
    yield name
    core.delete_namespace(name)


def test_one_without_pods_is_not_ready_and_one_that_is_not_there_is_said_to_be(namespace: str) -> None:
    api = connect()
    assert "no endpoints available" in (unready(api, namespace, "alone") or "")
    with pytest.raises(RouteMissing):
        unready(api, namespace, "nobody")


def test_what_the_api_server_says_of_one_that_nobody_is_behind_is_no_answer_of_it(namespace: str) -> None:
    for service in ("alone", "nobody"):
        with pytest.raises(RouteUnavailable):
            asked(connect(), namespace, service, "GET", "/version", headers={}, body=None)
