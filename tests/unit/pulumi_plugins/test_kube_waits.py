"""Judges on objects that a real cluster (1.36) showed: see recorded/."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from local.pulumi_plugins.failures import ProviderError
from local.pulumi_plugins.kube.objects import Kind, Object
from local.pulumi_plugins.kube.waits import wait_for
from local.pulumi_plugins.kube.waits.base import GRACE_SECONDS, Outcome, Verdict, View, label_query
from local.pulumi_plugins.kube.waits.custom import custom_wait

RECORDED = Path(__file__).with_name("recorded")


def one(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


def many(name: str) -> list[Object]:
    items: list[Object] = one(name)["items"]
    return items


def judge(group: str, kind: str, view: View) -> Verdict:
    wait = wait_for(Kind(group, "v1", kind))
    assert wait is not None
    return wait.judge(view)


def rollout(prefix: str = "deployment", elapsed: float = 0.0, **changes: Any) -> View:
    subject = one("deployment" if prefix == "deployment" else f"{prefix}_deployment")
    subject["status"].update(changes)
    related = {"pods": many(f"{prefix}_pods"), "replicasets": many(f"{prefix}_replicasets")}
    return View(subject, related, elapsed)


def test_a_deployment_is_ready_once_its_new_replicas_are_available() -> None:
    assert judge("apps", "Deployment", rollout()).outcome is Outcome.READY


@pytest.mark.parametrize(
    "changes",
    [
        {"observedGeneration": 0},
        {"updatedReplicas": 1},
        {"replicas": 3},
        {"availableReplicas": 1},
    ],
    ids=["an old status", "not all updated", "old replicas left", "not all available"],
)
def test_a_deployment_is_not_ready_with(changes: dict[str, Any]) -> None:
    assert judge("apps", "Deployment", rollout(**changes)).outcome is Outcome.WAITING


def test_a_deployment_fails_with_its_crashing_pod_and_not_before_it_has_crashed_often() -> None:
    view = rollout("crash")
    verdict = judge("apps", "Deployment", view)
    assert verdict.outcome is Outcome.FAILED
    assert "exit status 2" in verdict.message
    crashing = [pod for pod in view.get("pods") if pod["status"]["containerStatuses"][0]["restartCount"]]
    assert verdict.suspects == tuple(pod["metadata"]["name"] for pod in crashing)
    crashing[0]["status"]["containerStatuses"][0]["restartCount"] = 1
    assert judge("apps", "Deployment", view).outcome is Outcome.WAITING


def test_a_crashing_pod_of_an_older_revision_does_not_fail_a_deployment() -> None:
    view = rollout("crash")
    for replicas in view.related["replicasets"]:
        replicas["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "old"
    assert judge("apps", "Deployment", view).outcome is Outcome.WAITING


def test_a_deployment_fails_by_its_own_word() -> None:
    view = rollout(availableReplicas=0)
    assert view.subject is not None
    view.subject["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too long"}
    ]
    verdict = judge("apps", "Deployment", view)
    assert verdict.outcome is Outcome.FAILED
    assert "ProgressDeadlineExceeded" in verdict.message


@pytest.mark.parametrize(("elapsed", "outcome"), [(0.0, Outcome.WAITING), (GRACE_SECONDS, Outcome.FAILED)])
def test_pods_that_are_refused_fail_a_deployment_after_a_while(elapsed: float, outcome: Outcome) -> None:
    view = rollout(elapsed=elapsed, availableReplicas=0)
    assert view.subject is not None
    refusal = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "violates PodSecurity"}
    view.subject["status"]["conditions"].append(refusal)
    assert judge("apps", "Deployment", view).outcome is outcome


def test_a_stateful_set_is_ready_with_all_replicas_of_the_newest_revision() -> None:
    subject = one("statefulset")
    assert judge("apps", "StatefulSet", View(subject)).outcome is Outcome.READY
    subject["status"]["updatedReplicas"] = 1
    assert judge("apps", "StatefulSet", View(subject)).outcome is Outcome.WAITING
    subject["spec"]["updateStrategy"]["rollingUpdate"] = {"partition": 1}
    assert judge("apps", "StatefulSet", View(subject)).outcome is Outcome.READY
    subject["status"]["readyReplicas"] = 1
    assert judge("apps", "StatefulSet", View(subject)).outcome is Outcome.WAITING


def test_a_stateful_set_scaled_to_none_is_ready() -> None:
    subject = one("statefulset")
    subject["spec"]["replicas"] = 0
    subject["status"] = {"observedGeneration": subject["metadata"]["generation"], "replicas": 0}
    assert judge("apps", "StatefulSet", View(subject)).outcome is Outcome.READY


def test_a_job_ends_by_its_own_word() -> None:
    assert judge("batch", "Job", View(one("complete_job"))).outcome is Outcome.READY
    pods = many("failed_job_pods")
    verdict = judge("batch", "Job", View(one("failed_job"), {"pods": pods}))
    assert verdict.outcome is Outcome.FAILED
    assert "BackoffLimitExceeded" in verdict.message
    assert verdict.suspects == (pods[-1]["metadata"]["name"],)


def test_a_failed_pod_alone_does_not_fail_a_job_that_may_try_again() -> None:
    job = one("failed_job")
    job["status"] = {"startTime": "2026-01-01T00:00:00Z", "failed": 1, "active": 1}
    assert judge("batch", "Job", View(job, {"pods": many("failed_job_pods")})).outcome is Outcome.WAITING


def test_an_image_that_is_never_there_fails_at_once() -> None:
    verdict = judge("", "Pod", View(one("never_pod")))
    assert verdict.outcome is Outcome.FAILED
    assert "ErrImageNeverPull" in verdict.message


@pytest.mark.parametrize(("elapsed", "outcome"), [(1.0, Outcome.WAITING), (GRACE_SECONDS, Outcome.FAILED)])
def test_an_image_that_cannot_be_pulled_fails_after_a_while(elapsed: float, outcome: Outcome) -> None:
    pod = one("never_pod")
    pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] = "ImagePullBackOff"
    assert judge("", "Pod", View(pod, {}, elapsed)).outcome is outcome


def test_a_pod_that_is_being_deleted_is_not_ready() -> None:
    pod = many("deployment_pods")[0]
    assert judge("", "Pod", View(pod)).outcome is Outcome.READY
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert judge("", "Pod", View(pod)).outcome is Outcome.WAITING


def test_a_service_is_ready_with_one_ready_endpoint() -> None:
    service, slices = one("service"), many("slices")
    assert judge("", "Service", View(service, {"slices": slices})).outcome is Outcome.READY
    asleep = copy.deepcopy(slices)
    for piece in asleep:
        for endpoint in piece["endpoints"]:
            endpoint["conditions"]["ready"] = False
    assert judge("", "Service", View(service, {"slices": asleep})).outcome is Outcome.WAITING
    assert judge("", "Service", View(service, {"slices": []})).outcome is Outcome.WAITING


@pytest.mark.parametrize(
    "changes", [{"clusterIP": "None"}, {"selector": None}, {"type": "ExternalName"}], ids=["headless", "bare", "name"]
)
def test_a_service_to_which_kubernetes_sends_nobody_is_ready_at_once(changes: dict[str, Any]) -> None:
    service = one("service")
    service["spec"].update(changes)
    assert judge("", "Service", View(service)).outcome is Outcome.READY


def test_a_load_balancer_needs_an_address() -> None:
    service = one("service")
    service["spec"]["type"] = "LoadBalancer"
    view = View(service, {"slices": many("slices")})
    assert judge("", "Service", view).outcome is Outcome.WAITING
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert judge("", "Service", view).outcome is Outcome.READY


def test_a_claim_waits_for_its_volume_unless_that_comes_with_the_first_pod() -> None:
    claim: Object = {"metadata": {"name": "c"}, "spec": {}, "status": {"phase": "Pending"}}
    default = {"metadata": {"name": "d", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}
    view = View(claim, {"classes": [default | {"volumeBindingMode": "Immediate"}]})
    assert judge("", "PersistentVolumeClaim", view).outcome is Outcome.WAITING
    late = View(claim, {"classes": [default | {"volumeBindingMode": "WaitForFirstConsumer"}]})
    assert judge("", "PersistentVolumeClaim", late).outcome is Outcome.READY
    claim["spec"]["storageClassName"] = "other"
    assert judge("", "PersistentVolumeClaim", late).outcome is Outcome.WAITING
    claim["status"]["phase"] = "Lost"
    assert judge("", "PersistentVolumeClaim", view).outcome is Outcome.FAILED


def test_a_definition_may_have_no_conditions_yet() -> None:
    empty = View({"metadata": {"name": "c"}, "status": {"conditions": None}})
    assert judge("apiextensions.k8s.io", "CustomResourceDefinition", empty).outcome is Outcome.WAITING


@pytest.mark.parametrize(
    ("text", "ready"),
    [
        ("condition=Available", True),
        ("condition=available=true", True),
        ("condition=Missing", False),
        ("jsonpath={.status.replicas}=2", True),
        ("jsonpath={.status.replicas}=3", False),
        ("jsonpath={.status.nothing}", False),
        ("jsonpath={.status.conditions[*].reason}=NewReplicaSetAvailable", True),
        ("jsonpath={.spec.template.spec.containers[0].name}=main", True),
        ('["condition=Available", "jsonpath={.status.replicas}=3"]', False),
    ],
)
def test_conditions_of_the_users_own(text: str, ready: bool) -> None:
    outcome = custom_wait(text).judge(View(one("deployment"))).outcome
    assert outcome is (Outcome.READY if ready else Outcome.WAITING)


@pytest.mark.parametrize("text", ["Ready", "jsonpath=.status", "jsonpath={status}", "[]"])
def test_a_malformed_condition_is_refused(text: str) -> None:
    with pytest.raises(ProviderError, match="waitFor"):
        custom_wait(text)


def test_selectors_as_queries() -> None:
    selector = {
        "matchLabels": {"a": "1"},
        "matchExpressions": [
            {"key": "b", "operator": "In", "values": ["x", "y"]},
            {"key": "c", "operator": "DoesNotExist"},
        ],
    }
    assert label_query(selector) == {"labelSelector": "a=1,b in (x,y),!c"}
