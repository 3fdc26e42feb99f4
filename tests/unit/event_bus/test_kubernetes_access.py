"""What the API server says of this process, over HTTP as the real one speaks it; and Jobs by the same way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from adapters.routes.base import GpuNode, LockHeld, Permission, RouteMissing, RouteUnavailable
from adapters.routes.jobs import KubernetesJobs
from adapters.routes.kubernetes import KubernetesRegistry, _clock_ahead
from adapters.routes.kubernetes_access import KubernetesAccess
from adapters.routes.kubernetes_lock import KubernetesLock
from adapters.routes.kubernetes_nodes import KubernetesNodes
from adapters.routes.kubernetes_resources import KubernetesResources
from adapters.routes.workloads import Deployed, deployed
from contracts.registry import ANNOTATION_STATUS, LABEL_BESIDE
from contracts.stages import Component


class ApiServer(ThreadingHTTPServer):
    """Answers by method and path; what was sent is in `asked`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.accepted: list[str] = []
        self.ahead = 0.0


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def _answer(self) -> None:
        key = f"{self.command} {self.path.partition('?')[0]}"
        length = int(self.headers.get("Content-Length") or 0)
        self.server.accepted.append(self.headers.get("Accept", ""))
        self.server.asked.append((key, json.loads(self.rfile.read(length)) if length else None))
        status, body = self.server.answers.get(key, (404, {"message": "not found"}))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        told = datetime.now(UTC) + timedelta(seconds=self.server.ahead)
        self.send_header("Date", format_datetime(told, usegmt=True))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ApiServer]:
    made = ApiServer()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def api(server: ApiServer) -> Iterator[client.ApiClient]:
    configuration = client.Configuration()
    configuration.host = f"http://127.0.0.1:{server.server_address[1]}"
    made = client.ApiClient(configuration)
    yield made
    made.rest_client.pool_manager.clear()


REVIEWS = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
PATCH = Permission("patch", "configmaps", name="crossover-route-event-bus")


@pytest.mark.parametrize("allowed", [True, False])
def test_a_right_is_asked_for_by_a_review_of_oneself(server: ApiServer, api: client.ApiClient, allowed: bool) -> None:
    server.answers[REVIEWS] = (201, {"status": {"allowed": allowed}})
    assert KubernetesAccess("trading", api).allows(PATCH) is allowed
    [(_, review)] = server.asked
    assert review["spec"]["resourceAttributes"] == {
        "namespace": "trading",
        "verb": "patch",
        "group": "",
        "resource": "configmaps",
        "name": "crossover-route-event-bus",
    }


@pytest.mark.parametrize(
    "answer",
    [(403, {"message": "no"}), (201, {"status": {"allowed": False, "evaluationError": "webhook is away"}})],
    ids=["forbidden", "undecided"],
)
def test_a_review_that_decides_nothing_is_no_answer(
    server: ApiServer, api: client.ApiClient, answer: tuple[int, Any]
) -> None:
    server.answers[REVIEWS] = answer
    with pytest.raises(RouteUnavailable):
        KubernetesAccess("trading", api).allows(PATCH)


def test_the_servers_clock_is_read_from_its_answers(server: ApiServer, api: client.ApiClient) -> None:
    server.answers["GET /version"] = (200, {"major": "1"})
    access = KubernetesAccess("trading", api)
    for ahead in (0.0, 30.0, -30.0):
        server.ahead = ahead
        found, within = access.clock_ahead()
        assert abs(found - ahead) <= within < 3


def test_gpus_are_what_nodes_that_take_pods_offer_each_with_its_memory(
    server: ApiServer, api: client.ApiClient
) -> None:
    def node(name: str, gpus: str | None, **more: Any) -> dict[str, Any]:
        allocatable = {"cpu": "8"} | ({} if gpus is None else {"nvidia.com/gpu": gpus})
        spec = {"unschedulable": True} if more.pop("cordoned", False) else {}
        labels = {key.replace("__", "."): value for key, value in more.items()}
        return {
            "metadata": {"name": name, "labels": {f"nvidia.com/{k}": v for k, v in labels.items()}},
            "spec": spec,
            "status": {"allocatable": allocatable},
        }

    server.answers["GET /api/v1/nodes"] = (
        200,
        {
            "items": [
                node("labelled", "2", gpu__memory="24576"),
                node("blind", "1"),
                node("odd", "1", gpu__memory="much"),
                node("cpu", None),
                node("given-away", "0"),
                node("cordoned", "8", cordoned=True),
            ]
        },
    )
    found = KubernetesNodes(api).with_gpus()
    assert found == [GpuNode("labelled", 2, 24.0), GpuNode("blind", 1, None), GpuNode("odd", 1, None)]


def test_nodes_that_may_not_be_listed_are_unknown(server: ApiServer, api: client.ApiClient) -> None:
    server.answers["GET /api/v1/nodes"] = (403, {"message": "no"})
    with pytest.raises(RouteUnavailable, match="403"):
        KubernetesNodes(api).with_gpus()


def test_an_adapters_clock_is_what_it_wrote_against_when_the_server_was_told() -> None:
    told = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

    def lease(renewed: datetime | None, *times: datetime | None) -> Any:
        fields = [SimpleNamespace(time=at) for at in times]
        return SimpleNamespace(
            metadata=SimpleNamespace(managed_fields=fields), spec=SimpleNamespace(renew_time=renewed)
        )

    assert _clock_ahead(lease(told + timedelta(seconds=8.5), told - timedelta(hours=1), told)) == 8.0
    assert _clock_ahead(lease(told, None)) is None
    assert _clock_ahead(lease(None, told)) is None


LEASES = "/apis/coordination.k8s.io/v1/namespaces/trading/leases"


def test_a_bulletin_is_a_lease_that_no_fence_looks_for(server: ApiServer, api: client.ApiClient) -> None:
    name = f"{LEASES}/beside-database-pod"
    server.answers |= {f"POST {LEASES}": (201, {}), f"PATCH {name}": (200, {})}
    registry = KubernetesRegistry("trading", api)
    registry.post(Component.DATABASE, "pod", {"hosted": "1"})
    registry.post(Component.DATABASE, "pod", {"hosted": "2"})
    (made, created), (renewed, patch) = server.asked
    assert (made, renewed) == (f"POST {LEASES}", f"PATCH {name}")
    assert created["metadata"]["labels"] == {LABEL_BESIDE: "database"}
    assert patch["metadata"]["annotations"] == {ANNOTATION_STATUS: '{"hosted": "2"}'}
    stale = created | {"spec": created["spec"] | {"renewTime": "2020-01-01T00:00:00.000000Z"}}
    server.answers[f"GET {LEASES}"] = (200, {"items": [created, stale, {"metadata": {"name": "bare"}, "spec": {}}]})
    fresh, *others = registry.posted(Component.DATABASE)
    assert (fresh.name, fresh.status, fresh.live) == ("pod", {"hosted": "1"}, True)
    assert [one.live for one in others] == [False, False]


def test_a_deployment_tells_how_many_pods_are_ready(server: ApiServer, api: client.ApiClient) -> None:
    path = "GET /apis/apps/v1/namespaces/trading/deployments/pooler"
    with pytest.raises(RouteMissing):
        deployed(api, "trading", "pooler")
    for body, found in (
        ({"spec": {"replicas": 2}, "status": {"readyReplicas": 1}}, Deployed(2, 1)),
        ({"spec": {}, "status": {}}, Deployed(1, 0)),
    ):
        server.answers[path] = (200, body)
        assert deployed(api, "trading", "pooler") == found


def test_a_job_like_the_transition_is_run_and_its_output_told(server: ApiServer, api: client.ApiClient) -> None:
    jobs = "/apis/batch/v1/namespaces/trading/jobs"
    pattern = {
        "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"template": {"spec": {"containers": [{"args": []}]}}},
    }
    server.answers |= {
        f"GET {jobs}": (200, {"items": [pattern]}),
        f"POST {jobs}": (201, {"metadata": {"name": "check-1"}}),
        f"GET {jobs}/check-1": (200, {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}),
        f"DELETE {jobs}/check-1": (200, {}),
        "GET /api/v1/namespaces/trading/pods": (200, {"items": [{"metadata": {"name": "check-1-x"}}]}),
        "GET /api/v1/namespaces/trading/pods/check-1-x/log": (200, b"ok redis: reachable\n"),
    }
    said: list[str] = []
    began = time.monotonic()
    assert KubernetesJobs(api, "trading").run_like_transition(Component.EVENT_BUS, ["--check"], said.append)
    assert said == ["ok redis: reachable"]
    assert time.monotonic() - began < 10
    assert [key for key, _ in server.asked][-1] == f"DELETE {jobs}/check-1"


def test_a_job_as_a_client_tells_its_exit_status(server: ApiServer, api: client.ApiClient) -> None:
    jobs = "/apis/batch/v1/namespaces/trading/jobs"
    pattern = {
        "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"template": {"spec": {"containers": [{"args": []}]}}},
    }
    ended = {"containerStatuses": [{"state": {"terminated": {"exitCode": 2}}}]}
    server.answers |= {
        f"GET {jobs}": (200, {"items": [pattern]}),
        f"POST {jobs}": (201, {"metadata": {"name": "letters-1"}}),
        f"GET {jobs}/letters-1": (200, {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}),
        f"DELETE {jobs}/letters-1": (200, {}),
        "GET /api/v1/namespaces/trading/pods": (200, {"items": [{"metadata": {"name": "x"}, "status": ended}]}),
        "GET /api/v1/namespaces/trading/pods/x/log": (200, b"{}\n"),
    }
    assert KubernetesJobs(api, "trading").run_as_client("letters", ["python", "-m", "x"]) == (2, "{}")
    [sent] = [body for key, body in server.asked if key == f"POST {jobs}"]
    assert sent["spec"]["template"]["spec"]["serviceAccountName"] == "event-bus-client"


LEASE = "/apis/coordination.k8s.io/v1/namespaces/trading/leases/crossover-switch-event-bus"


def held(version: str, holder: str = "ann") -> tuple[int, Any]:
    """The Lease of a switch that `holder` holds."""
    spec = {"holderIdentity": holder, "acquireTime": "2026-01-02T03:04:05.000000Z"}
    return 200, {"metadata": {"name": "crossover-switch-event-bus", "resourceVersion": version}, "spec": spec}


def test_a_lock_that_is_held_is_refused_and_told_since_when(server: ApiServer, api: client.ApiClient) -> None:
    server.answers[f"GET {LEASE}"] = held("1")
    with pytest.raises(LockHeld, match=r"ann.*2026-01-02T03:04:05Z"):
        KubernetesLock("trading", api).acquire(Component.EVENT_BUS, "bob", 0)
    assert {key.partition(" ")[0] for key, _ in server.asked} == {"GET"}


def test_a_lock_that_stands_still_is_taken_by_compare_and_set(
    server: ApiServer, api: client.ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.routes.kubernetes_lock.LEASE_SECONDS", 1)
    server.answers |= {f"GET {LEASE}": held("7"), f"PATCH {LEASE}": held("8")}
    KubernetesLock("trading", api).acquire(Component.EVENT_BUS, "bob", 10)
    [taken] = [body for key, body in server.asked if key.startswith("PATCH")]
    assert taken["metadata"]["resourceVersion"] == "7"
    assert taken["spec"]["holderIdentity"] == "bob"


@pytest.mark.parametrize(("state", "taken"), [("terminated", True), ("running", False)])
def test_a_holder_whose_pod_has_ended_is_not_waited_for(
    server: ApiServer, api: client.ApiClient, state: str, taken: bool
) -> None:
    status = {"name": "main", "image": "i", "imageID": "i", "ready": False, "restartCount": 0}
    ended = {"terminated": {"exitCode": 137}} if state == "terminated" else {"running": {}}
    pod = {"metadata": {"name": "ann"}, "status": {"containerStatuses": [status | {"state": ended}]}}
    server.answers |= {
        f"GET {LEASE}": held("7"),
        f"PATCH {LEASE}": held("8"),
        "GET /api/v1/namespaces/trading/pods": (200, {"items": [pod]}),
    }
    with nullcontext() if taken else pytest.raises(LockHeld):
        KubernetesLock("trading", api).acquire(Component.EVENT_BUS, "bob", 0)
    assert taken == any(key == f"PATCH {LEASE}" for key, _ in server.asked)


def test_a_lock_that_is_renewed_is_not_taken(
    server: ApiServer, api: client.ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.routes.kubernetes_lock.LEASE_SECONDS", 1)
    server.answers[f"GET {LEASE}"] = held("1")
    stopped = threading.Event()

    def renew() -> None:
        version = 1
        while not stopped.wait(0.3):
            version += 1
            server.answers[f"GET {LEASE}"] = held(str(version))

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        with pytest.raises(LockHeld, match="ann"):
            KubernetesLock("trading", api).acquire(Component.EVENT_BUS, "bob", 2.5)
    finally:
        stopped.set()
        renewing.join()


def test_a_path_that_is_not_there_is_missing(server: ApiServer, api: client.ApiClient) -> None:
    with pytest.raises(RouteMissing):
        KubernetesJobs(api, "elsewhere").run_like_transition(Component.EVENT_BUS, [], print)


def test_a_lock_that_changes_whenever_it_is_given_back_is_told(
    server: ApiServer, api: client.ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers[f"GET {LEASE}"] = held("1", "run-1")
    server.answers[f"DELETE {LEASE}"] = (409, {"message": "conflict"})
    KubernetesLock("trading", api).release(Component.EVENT_BUS, "run-1")
    assert [asked for asked, _ in server.asked].count(f"DELETE {LEASE}") == 5
    assert "was not given back, it runs out by itself: it was changed in each of 5 attempts" in caplog.text


def test_a_lock_that_is_given_back_says_nothing(
    server: ApiServer, api: client.ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers[f"GET {LEASE}"] = held("1", "run-1")
    server.answers[f"DELETE {LEASE}"] = (200, {"status": "Success"})
    KubernetesLock("trading", api).release(Component.EVENT_BUS, "run-1")
    assert not caplog.records


def test_of_secrets_the_api_server_is_asked_for_metadata_alone(server: ApiServer, api: client.ApiClient) -> None:
    server.answers["GET /api/v1/namespaces/trading/secrets"] = (200, {"items": [{"metadata": {"name": "kept"}}]})
    assert KubernetesResources("trading", api).secrets() == {"kept"}
    [accepted] = server.accepted
    assert accepted.startswith("application/json;as=PartialObjectMetadataList;") and "," not in accepted


def test_metrics_of_a_pod_come_as_they_are_through_the_proxy(server: ApiServer, api: client.ApiClient) -> None:
    server.answers["GET /api/v1/namespaces/trading/pods/p:9100/proxy/metrics"] = (200, b"# a\na 1\n")
    assert KubernetesResources("trading", api).metrics("p", 9100) == "# a\na 1\n"
    with pytest.raises(RouteMissing):
        KubernetesResources("trading", api).metrics("q", 9100)
