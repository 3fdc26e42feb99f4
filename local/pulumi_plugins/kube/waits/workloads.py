"""Deployments, StatefulSets and DaemonSets: the newest revision runs, whole and alone."""

from __future__ import annotations

from local.pulumi_plugins.kube.objects import Object, condition, dig, name_of
from local.pulumi_plugins.kube.waits.base import (
    GRACE_SECONDS,
    Source,
    Verdict,
    View,
    Wait,
    events_about,
    failed,
    in_namespace,
    label_query,
    observed,
    ready,
    waiting,
)
from local.pulumi_plugins.kube.waits.pods import verdict_on

ROLLOUT_SECONDS = 600.0
_REVISION = "deployment.kubernetes.io/revision"
_TEMPLATE_HASH = "pod-template-hash"
_CONTROLLER_HASH = "controller-revision-hash"


def _count(subject: Object, name: str) -> int:
    return int(dig(subject, "status", name, default=0) or 0)


def _wanted(subject: Object) -> int:
    return int(dig(subject, "spec", "replicas", default=1))


def judge_deployment(view: View) -> Verdict:
    """As `kubectl rollout status`, and failed as soon as a new pod is broken for good."""
    subject = view.subject or {}
    name, wanted = name_of(subject), _wanted(subject)
    if not observed(subject):
        return waiting(f"Deployment {name}: waiting for its controller")
    if dig(subject, "spec", "paused"):
        return ready(f"Deployment {name} is paused")
    updated, total, available = (_count(subject, key) for key in ("updatedReplicas", "replicas", "availableReplicas"))
    if updated >= wanted and total <= updated and available >= updated:
        return ready(f"Deployment {name}: {available} of {wanted} replicas are available")
    message = f"Deployment {name}: {available} of {wanted} replicas are available"
    if updated < wanted:
        message += f", {updated} of them updated"
    elif total > updated:
        message = f"Deployment {name}: {total - updated} old replicas are still going"
    stuck = _stuck(subject, view)
    verdict = verdict_on(message, _new_pods(subject, view), view, stuck)
    progressing = condition(subject, "Progressing") or {}
    if progressing.get("status") == "False" or (stuck and view.elapsed >= GRACE_SECONDS):
        why = stuck[0] if stuck else f"[{progressing.get('reason')}] {progressing.get('message', '')}"
        details = tuple(text for text in verdict.details if text != why)
        return failed(f"Deployment {name}: {why}", details, verdict.suspects)
    return verdict


def _stuck(subject: Object, view: View) -> tuple[str, ...]:
    """Why no pod can be made: a quota, Pod Security, a missing service account."""
    failure = condition(subject, "ReplicaFailure") or {}
    if failure.get("status") == "True":
        return (f"[{failure.get('reason')}] {failure.get('message', '')}",)
    return ()


def _new_pods(subject: Object, view: View) -> list[Object]:
    """The pods of the newest ReplicaSet."""
    revision = dig(subject, "metadata", "annotations", _REVISION)
    uid = dig(subject, "metadata", "uid")
    hashes = {
        dig(replicas, "metadata", "labels", _TEMPLATE_HASH)
        for replicas in view.get("replicasets")
        if dig(replicas, "metadata", "annotations", _REVISION) == revision
        and any(owner.get("uid") == uid for owner in dig(replicas, "metadata", "ownerReferences", default=[]))
    }
    return [pod for pod in view.get("pods") if dig(pod, "metadata", "labels", _TEMPLATE_HASH) in hashes]


def judge_stateful_set(view: View) -> Verdict:
    """All replicas ready, and (but for a partition) all of the newest revision."""
    subject = view.subject or {}
    name, wanted = name_of(subject), _wanted(subject)
    if not observed(subject):
        return waiting(f"StatefulSet {name}: waiting for its controller")
    available, updated, total = (_count(subject, key) for key in ("readyReplicas", "updatedReplicas", "replicas"))
    strategy = dig(subject, "spec", "updateStrategy", default={})
    partition = int(dig(strategy, "rollingUpdate", "partition", default=0) or 0)
    rolls = strategy.get("type", "RollingUpdate") == "RollingUpdate"
    to_update = max(wanted - partition, 0) if rolls else 0
    if available >= wanted and total == wanted and updated >= to_update:
        return ready(f"StatefulSet {name}: {available} of {wanted} replicas are ready")
    message = f"StatefulSet {name}: {available} of {wanted} replicas are ready"
    if updated < to_update:
        message += f", {updated} of {to_update} updated"
    newest = dig(subject, "status", "updateRevision")
    pods = [pod for pod in view.get("pods") if dig(pod, "metadata", "labels", _CONTROLLER_HASH) == newest]
    verdict = verdict_on(message, pods or _owned(subject, view), view)
    return _without_pods(f"StatefulSet {name}", total, wanted, view, verdict)


def judge_daemon_set(view: View) -> Verdict:
    """One available pod of the newest revision on each node that wants one."""
    subject = view.subject or {}
    name = name_of(subject)
    if not observed(subject):
        return waiting(f"DaemonSet {name}: waiting for its controller")
    wanted, updated, available = (
        _count(subject, key) for key in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    )
    rolls = dig(subject, "spec", "updateStrategy", "type", default="RollingUpdate") == "RollingUpdate"
    if available >= wanted and (updated >= wanted or not rolls):
        return ready(f"DaemonSet {name}: {available} of {wanted} pods are available")
    message = f"DaemonSet {name}: {available} of {wanted} pods are available, {updated} updated"
    verdict = verdict_on(message, _owned(subject, view), view)
    scheduled = _count(subject, "currentNumberScheduled")
    return _without_pods(f"DaemonSet {name}", scheduled, wanted, view, verdict)


def _owned(subject: Object, view: View) -> list[Object]:
    uid = dig(subject, "metadata", "uid")
    return [
        pod
        for pod in view.get("pods")
        if any(owner.get("uid") == uid for owner in dig(pod, "metadata", "ownerReferences", default=[]))
    ]


def _without_pods(what: str, existing: int, wanted: int, view: View, verdict: Verdict) -> Verdict:
    """Failed where pods are refused: these kinds say so in events alone."""
    refused = [text for text in verdict.details if text.startswith("[FailedCreate]")]
    if existing < wanted and refused and view.elapsed >= GRACE_SECONDS and verdict.outcome.name == "WAITING":
        details = tuple(text for text in verdict.details if text != refused[0])
        return failed(f"{what}: {refused[0]}", details, verdict.suspects)
    return verdict


def _pods(subject: Object) -> Source:
    return Source("pods", in_namespace(subject, "pods"), label_query(dig(subject, "spec", "selector", default={})))


def _of_deployment(subject: Object) -> list[Source]:
    pods = _pods(subject)
    replicas = Source("replicasets", in_namespace(subject, "replicasets", "/apis/apps/v1"), pods.query)
    return [pods, replicas, events_about(subject)]


def _of_controller(subject: Object) -> list[Source]:
    return [_pods(subject), events_about(subject)]


DEPLOYMENT = Wait(judge_deployment, ROLLOUT_SECONDS, _of_deployment)
STATEFUL_SET = Wait(judge_stateful_set, ROLLOUT_SECONDS, _of_controller)
DAEMON_SET = Wait(judge_daemon_set, ROLLOUT_SECONDS, _of_controller)
