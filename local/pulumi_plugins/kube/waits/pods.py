"""Pods: ready, on their way, or broken for good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from local.pulumi_plugins.kube.objects import Object, condition, dig, is_true, name_of
from local.pulumi_plugins.kube.waits.base import (
    GRACE_SECONDS,
    Source,
    Verdict,
    View,
    Wait,
    events_about,
    failed,
    ready,
    waiting,
    warnings,
)

CRASHES = 3
"""Restarts after which a crash-looping container counts as broken: it has failed four times
over 70 s (the kubelet waits 10, 20, 40 s), long enough for a late dependency."""
_HOPELESS = frozenset({"ErrImageNeverPull", "InvalidImageName"})
_STUCK = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "ImageInspectError",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something wrong with a pod. `fatal`: it will not heal by itself."""

    pod: str
    text: str
    fatal: bool = False
    has_log: bool = False


def container_statuses(pod: Object) -> Iterator[Object]:
    """The statuses of all containers, init containers first."""
    yield from dig(pod, "status", "initContainerStatuses", default=[])
    yield from dig(pod, "status", "containerStatuses", default=[])


def troubles(pod: Object, elapsed: float) -> list[Trouble]:
    """What is wrong with a pod, `elapsed` seconds into the wait."""
    name = name_of(pod)
    found = []
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        text = f"pod {name} is not scheduled: [{scheduled.get('reason')}] {scheduled.get('message', '')}"
        found.append(Trouble(name, text))
    for status in container_statuses(pod):
        trouble = _container_trouble(name, status, elapsed)
        if trouble is not None:
            found.append(trouble)
    return found


def _container_trouble(pod: str, status: Object, elapsed: float) -> Trouble | None:
    held = dig(status, "state", "waiting", default={})
    reason = held.get("reason", "")
    what = f"container {status.get('name')} of pod {pod}"
    restarts = int(status.get("restartCount", 0))
    if reason in _HOPELESS or reason in _STUCK:
        fatal = reason in _HOPELESS or elapsed >= GRACE_SECONDS
        return Trouble(pod, f"{what}: [{reason}] {held.get('message', '')}".rstrip(), fatal)
    if reason == "CrashLoopBackOff":
        last = dig(status, "lastState", "terminated", default={})
        text = f"{what} has crashed {restarts + 1} times, {ending(last)}"
        return Trouble(pod, text, restarts >= CRASHES, has_log=True)
    ended = dig(status, "state", "terminated", default={})
    if ended and ended.get("exitCode", 0) != 0:
        return Trouble(pod, f"{what} ended, {ending(ended)}", has_log=True)
    if dig(status, "state", "running") is not None and not status.get("ready"):
        return Trouble(pod, f"{what} runs, but is not ready", has_log=True)
    return None


def ending(terminated: Object) -> str:
    """How a container ended: its status and its termination message."""
    code, reason = terminated.get("exitCode"), terminated.get("reason", "")
    text = f"exit status {code}" + (f" ({reason})" if reason and reason != "Error" else "")
    message = str(terminated.get("message", "")).strip()
    return f"{text}: {message}" if message else text


def is_leaving(pod: Object) -> bool:
    """Whether the pod is being deleted: its faults no longer count."""
    return dig(pod, "metadata", "deletionTimestamp") is not None


def is_ready(pod: Object) -> bool:
    """Whether the pod serves."""
    return is_true(pod, "Ready") and not is_leaving(pod)


def assess(pods: Iterable[Object], elapsed: float) -> tuple[list[Trouble], list[Trouble]]:
    """(fatal troubles, all troubles) of the pods that stay."""
    found = [trouble for pod in pods if not is_leaving(pod) for trouble in troubles(pod, elapsed)]
    return [trouble for trouble in found if trouble.fatal], found


def verdict_on(message: str, pods: Iterable[Object], view: View, extra: tuple[str, ...] = ()) -> Verdict:
    """Failed where a pod is broken for good, else waiting, with what is known of the pods."""
    fatal, found = assess(pods, view.elapsed)
    details = (*(trouble.text for trouble in found), *extra, *warnings(view))
    suspects = tuple(dict.fromkeys(trouble.pod for trouble in found if trouble.has_log))
    if fatal:
        return failed(fatal[0].text, tuple(text for text in details if text != fatal[0].text), suspects)
    return waiting(message, details, suspects)


def judge(view: View) -> Verdict:
    """A bare Pod: ready to serve, or run to its end."""
    pod = view.subject or {}
    phase = dig(pod, "status", "phase", default="Pending")
    name = name_of(pod)
    if phase == "Succeeded":
        return ready(f"pod {name} has ended well")
    if is_ready(pod):
        return ready(f"pod {name} is ready")
    if phase == "Failed":
        found = troubles(pod, view.elapsed)
        reason = dig(pod, "status", "message", default="") or dig(pod, "status", "reason", default="")
        return failed(f"pod {name} failed {reason}".rstrip(), tuple(trouble.text for trouble in found), (name,))
    return verdict_on(f"pod {name} is {phase.lower()}", [pod], view)


def _sources(subject: Object) -> list[Source]:
    return [events_about(subject)]


POD = Wait(judge, seconds=600.0, sources=_sources)
