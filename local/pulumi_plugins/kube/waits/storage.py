"""PersistentVolumeClaims: bound, or waiting for a pod by design."""

from __future__ import annotations

from local.pulumi_plugins.kube.objects import Object, dig, name_of
from local.pulumi_plugins.kube.waits.base import (
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

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def judge(view: View) -> Verdict:
    """A claim of a class that binds on first use is ready as it is: its pod comes later."""
    claim = view.subject or {}
    name, phase = name_of(claim), dig(claim, "status", "phase", default="Pending")
    if phase == "Bound":
        return ready(f"PersistentVolumeClaim {name} is bound")
    if phase == "Lost":
        return failed(f"PersistentVolumeClaim {name} has lost its volume", warnings(view))
    storage = _class(claim, view)
    if storage is not None and storage.get("volumeBindingMode") == "WaitForFirstConsumer":
        return ready(f"PersistentVolumeClaim {name} waits for its first pod")
    return waiting(f"PersistentVolumeClaim {name} is {phase.lower()}", warnings(view))


def _class(claim: Object, view: View) -> Object | None:
    wanted = dig(claim, "spec", "storageClassName")
    for storage in view.get("classes"):
        default = dig(storage, "metadata", "annotations", _DEFAULT_CLASS) == "true"
        if name_of(storage) == wanted or (wanted is None and default):
            return storage
    return None


def _sources(subject: Object) -> list[Source]:
    return [Source("classes", "/apis/storage.k8s.io/v1/storageclasses"), events_about(subject)]


CLAIM = Wait(judge, seconds=300.0, sources=_sources)
