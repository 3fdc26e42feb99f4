"""The provider as the engine calls it, on a tiny API server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from local.pulumi_plugins import wire
from local.pulumi_plugins.kube.provider import KubernetesProvider
from local.pulumi_plugins.values import UNKNOWN, Secret, Value, plain
from tests.unit.pulumi_plugins.cluster import Cluster

CONFIG_MAP = "urn:pulumi:local::crossover::kubernetes:core/v1:ConfigMap::settings"
SECRET = "urn:pulumi:local::crossover::kubernetes:core/v1:Secret::password"
JOB = "urn:pulumi:local::crossover::kubernetes:batch/v1:Job::transition"
JOB_PATH = "/apis/batch/v1/namespaces/trading/jobs/transition"
MAP_PATH = "/api/v1/namespaces/trading/configmaps/settings"
FAILED = {
    "startTime": "2026-01-01T00:00:00Z",
    "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}],
}
COMPLETE = {"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Complete", "status": "True"}]}


class Aborted(Exception):
    """What the engine would see: a text, and the details in the trailing metadata."""


class _Context:
    """As much of a gRPC context as a servicer uses."""

    def __init__(self) -> None:
        self.trailers: dict[str, bytes] = {}

    def abort(self, code: object, text: str) -> None:
        raise Aborted(text)

    def set_trailing_metadata(self, pairs: Any) -> None:
        self.trailers.update(pairs)


def call() -> Any:
    """The context of one call."""
    return _Context()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.closing = True
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def provider(cluster: Cluster) -> Iterator[KubernetesProvider]:
    made = KubernetesProvider(None)
    request = provider_pb2.ConfigureRequest(variables={"kubernetes:config:kubeconfig": cluster.kubeconfig})
    made.Configure(request, call())
    yield made
    made.operations.client.close()


def config_map(**data: Value) -> dict[str, Value]:
    metadata = {"name": "settings", "namespace": "trading"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def job(**annotations: str) -> dict[str, Value]:
    metadata = {"name": "transition", "namespace": "trading", "annotations": annotations}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": {}}}}


def create(
    provider: KubernetesProvider, urn: str, inputs: dict[str, Value], *, preview: bool = False, context: Any = None
) -> tuple[str, dict[str, Value]]:
    request = provider_pb2.CreateRequest(urn=urn, properties=wire.encode(inputs), preview=preview)
    response = provider.Create(request, context or call())
    return response.id, wire.decode(response.properties)


def diff(provider: KubernetesProvider, urn: str, olds: dict[str, Value], news: dict[str, Value]) -> Any:
    request = provider_pb2.DiffRequest(urn=urn, id="x", olds=wire.encode(olds), news=wire.encode(news))
    return provider.Diff(request, call())


def test_created_read_changed_and_deleted(provider: KubernetesProvider, cluster: Cluster) -> None:
    identifier, state = create(provider, CONFIG_MAP, config_map(a="1"))
    assert identifier == "trading/settings"
    assert cluster.objects[MAP_PATH]["data"] == {"a": "1"}
    update = provider_pb2.UpdateRequest(
        urn=CONFIG_MAP, id=identifier, olds=wire.encode(state), news=wire.encode(config_map(a="2"))
    )
    state = wire.decode(provider.Update(update, call()).properties)
    assert (state["data"], state["__inputs"]["data"]) == ({"a": "2"}, {"a": "2"})
    read = provider_pb2.ReadRequest(
        urn=CONFIG_MAP, id=identifier, properties=wire.encode(state), inputs=wire.encode(state["__inputs"])
    )
    cluster.objects[MAP_PATH]["data"] = {"a": "drifted"}
    answer = provider.Read(read, call())
    assert wire.decode(answer.inputs)["data"] == {"a": "drifted"}
    provider.Delete(provider_pb2.DeleteRequest(urn=CONFIG_MAP, id=identifier, properties=wire.encode(state)), call())
    assert MAP_PATH not in cluster.objects
    assert provider.Read(read, call()).id == "", "what is gone is read as gone"


def test_deleting_what_is_gone_already_is_fine(provider: KubernetesProvider) -> None:
    state = {**config_map(), "__inputs": config_map()}
    request = provider_pb2.DeleteRequest(urn=CONFIG_MAP, id="trading/settings", properties=wire.encode(state))
    provider.Delete(request, call())


def test_a_preview_is_a_dry_run_and_makes_nothing(provider: KubernetesProvider, cluster: Cluster) -> None:
    _, state = create(provider, CONFIG_MAP, config_map(a="1"), preview=True)
    assert state["data"] == {"a": "1"}
    assert cluster.dry_runs == [MAP_PATH]
    assert cluster.objects == {}


def test_a_preview_with_unknowns_asks_nobody(provider: KubernetesProvider, cluster: Cluster) -> None:
    _, state = create(provider, CONFIG_MAP, config_map(a=UNKNOWN), preview=True)
    assert state["data"]["a"] is UNKNOWN
    assert cluster.dry_runs == []


def test_a_failed_job_is_kept_in_state_and_says_why(provider: KubernetesProvider, cluster: Cluster) -> None:
    cluster.statuses["Job"] = FAILED
    context = call()
    with pytest.raises(Aborted, match=r"BackoffLimitExceeded\] too often"):
        create(provider, JOB, job(), context=context)
    details = context.trailers["grpc-status-details-bin"]
    assert b"ErrorResourceInitFailed" in details
    assert b"trading/transition" in details
    assert JOB_PATH in cluster.objects


def test_an_unready_job_runs_again_where_its_annotation_says_so(provider: KubernetesProvider, cluster: Cluster) -> None:
    wanted = job(**{"pulumi.com/replaceUnready": "true"})
    state = {**wanted, "__inputs": wanted}
    cluster.put(JOB_PATH, {**wanted, "status": FAILED})
    response = diff(provider, JOB, state, wanted)
    assert list(response.replaces) == ['metadata.annotations["pulumi.com/replaceUnready"]']
    assert response.deleteBeforeReplace
    cluster.put(JOB_PATH, {**wanted, "status": COMPLETE})
    assert diff(provider, JOB, state, wanted).changes == provider_pb2.DiffResponse.DIFF_NONE
    cluster.remove(JOB_PATH)
    assert not diff(provider, JOB, state, wanted).replaces


def test_an_unready_job_without_the_annotation_is_not_replaced(provider: KubernetesProvider, cluster: Cluster) -> None:
    cluster.put(JOB_PATH, {**job(), "status": FAILED})
    assert not diff(provider, JOB, {**job(), "__inputs": job()}, job()).replaces


def test_a_difference_is_told_by_its_path(provider: KubernetesProvider) -> None:
    old = config_map(a="1")
    response = diff(provider, CONFIG_MAP, {**old, "__inputs": old}, config_map(a="2"))
    assert response.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert response.detailedDiff["data.a"].kind == provider_pb2.PropertyDiff.UPDATE_REPLACE
    assert response.deleteBeforeReplace


def test_a_conflict_names_the_other_manager_and_the_way_out(provider: KubernetesProvider, cluster: Cluster) -> None:
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl-edit" using v1', "field": ".data.a"}
    cluster.refusals[MAP_PATH] = (409, {"reason": "Conflict", "message": "conflict", "details": {"causes": [cause]}})
    with pytest.raises(Aborted, match=r"\(kubectl-edit\) owns data\.a.*patchForce"):
        create(provider, CONFIG_MAP, config_map(a="1"))


def test_a_refusal_does_not_repeat_the_secret(provider: KubernetesProvider, cluster: Cluster) -> None:
    metadata = {"name": "password", "namespace": "trading"}
    inputs = {"metadata": metadata, "stringData": {"password": Secret("correct horse")}}
    checked = provider.Check(provider_pb2.CheckRequest(urn=SECRET, news=wire.encode(inputs)), call())
    refusal = {"reason": "Invalid", "message": 'stringData: Invalid value: "correct horse"'}
    cluster.refusals["/api/v1/namespaces/trading/secrets/password"] = (422, refusal)
    with pytest.raises(Aborted) as caught:
        create(provider, SECRET, wire.decode(checked.inputs))
    assert "correct horse" not in str(caught.value)
    assert "Invalid value" in str(caught.value)


def test_check_gives_the_contexts_namespace_and_a_name(provider: KubernetesProvider) -> None:
    request = provider_pb2.CheckRequest(urn=CONFIG_MAP, news=wire.encode({"data": {}}), randomSeed=b"1")
    inputs = plain(wire.decode(provider.Check(request, call()).inputs))
    assert inputs["metadata"]["namespace"] == "trading"
    assert inputs["metadata"]["name"].startswith("settings-")


def test_a_cancelled_create_keeps_what_it_made(provider: KubernetesProvider, cluster: Cluster) -> None:
    cluster.statuses["Job"] = {"active": 1}
    threading.Timer(0.2, provider.cancelled.set).start()
    context = call()
    with pytest.raises(Aborted, match="cancelled"):
        create(provider, JOB, job(), context=context)
    assert b"trading/transition" in context.trailers["grpc-status-details-bin"]
