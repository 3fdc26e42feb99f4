"""Jobs: complete, or failed with what their pods last said."""

from __future__ import annotations

from local.pulumi_plugins.kube.objects import Object, condition, dig, is_true, name_of
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
    ready,
)
from local.pulumi_plugins.kube.waits.pods import assess, verdict_on

JOB_SECONDS = 600.0


def is_complete(job: Object) -> bool:
    """Whether the Job has run to its end, and well: the official rule of `replaceUnready`."""
    return dig(job, "status", "startTime") is not None and is_true(job, "Complete")


def judge(view: View) -> Verdict:
    """A Job counts as failed only by its own word, for it may try again; or where no try can start."""
    job = view.subject or {}
    name = name_of(job)
    if is_complete(job):
        return ready(f"Job {name} is complete")
    if dig(job, "spec", "suspend"):
        return ready(f"Job {name} is suspended")
    pods = view.get("pods")
    end = condition(job, "Failed") or {}
    if end.get("status") == "True":
        _, found = assess(pods, view.elapsed)
        details = tuple(trouble.text for trouble in found)
        return failed(
            f"Job {name} failed: [{end.get('reason')}] {end.get('message', '')}".rstrip(), details, _last_pods(pods)
        )
    active, succeeded, wrong = (
        int(dig(job, "status", key, default=0) or 0) for key in ("active", "succeeded", "failed")
    )
    message = f"Job {name}: {active} active, {succeeded} succeeded, {wrong} failed"
    running = [pod for pod in pods if dig(pod, "status", "phase") in {"Pending", "Running"}]
    verdict = verdict_on(message, running, view)
    refused = [text for text in verdict.details if text.startswith("[FailedCreate]")]
    if refused and not pods and view.elapsed >= GRACE_SECONDS:
        return failed(f"Job {name}: {refused[0]}", tuple(text for text in verdict.details if text != refused[0]))
    return verdict


def _last_pods(pods: list[Object]) -> tuple[str, ...]:
    """The pod that failed last: its log tells what the others told before."""
    wrong = [pod for pod in pods if dig(pod, "status", "phase") == "Failed"]
    newest = sorted(wrong or pods, key=lambda pod: str(dig(pod, "metadata", "creationTimestamp", default="")))
    return tuple(name_of(pod) for pod in newest[-1:])


def _sources(subject: Object) -> list[Source]:
    selector = dig(subject, "spec", "selector", default={})
    return [Source("pods", in_namespace(subject, "pods"), label_query(selector)), events_about(subject)]


JOB = Wait(judge, JOB_SECONDS, _sources, follows_logs=True)
