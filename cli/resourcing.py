"""What `crossover doctor` makes of pods, nodes and volumes: a Check a question, with its likely cause. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from adapters.known import Fact, Unknown
from adapters.routes.resources import Node, PodFacts, Volume
from contracts import names
from contracts.stages import Component, Stage, deployed_backends
from validation.result import Check

NEARLY_FULL = 0.9
"""Of a limit or a volume: beyond it, something is likely to be killed, or to fail, before anyone looks again."""
LATELY = timedelta(hours=24)
_SHOWN = 5
_BACKENDS: Mapping[Component, Mapping[str, tuple[str, str]]] = {
    Component.EVENT_BUS: {
        "redis": (names.REDIS_NAME, "redis-cli ping"),
        "kafka": (names.KAFKA_NAME, "a connection to the broker"),
    },
    Component.DATABASE: {"selfhosted": (names.SELFHOSTED_POSTGRES_NAME, "pg_isready")},
}
"""By component and backend: the app of its pods, and what their readiness asks. The hosted sides have no pods of
ours."""
_MODELS = "the model is listed at /v1/models"
_CAUSES = {
    "CrashLoopBackOff": "it ends soon after its start: what it depends on refuses it, or its memory is too little",
    "ImagePullBackOff": "crossover:images names a registry or tag that this node does not reach, or may not read",
    "ErrImagePull": "crossover:images names a registry or tag that this node does not reach, or may not read",
    "CreateContainerConfigError": "a Secret or ConfigMap that it names is not there",
    "Unschedulable": "no node has the CPU, memory or GPU that it asks for, or its volume cannot be made",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What the cluster tells. `unready`: by service, why it is not ready; `stages`: where each component stands;
    `models`: the apps of our own language models."""

    nodes: Fact[Sequence[Node]]
    pods: Fact[Sequence[PodFacts]]
    used: Fact[Mapping[str, float]]
    volumes: Fact[Sequence[Volume]]
    unready: Mapping[str, Fact[str | None]]
    stages: Mapping[Component, Stage]
    models: Sequence[str] = field(default_factory=tuple)


def checks(at: Resources, now: datetime) -> Iterator[Check]:
    """All that is asked of what runs."""
    yield nodes(at.nodes)
    for service, told in at.unready.items():
        yield _service(service, told)
    if isinstance(at.pods, Unknown):
        fix = "Ask who keeps the cluster for the right to list pods in the backend's namespace"
        yield Check.unknown("pods", expected="they run", why=at.pods.why, fix=fix)
    else:
        yield from _backends(at, at.pods)
        yield _started(at.pods)
        yield _killed(at.pods, now)
        yield _memory(at.pods, at.used)
    yield _room(at.volumes)


def nodes(told: Fact[Sequence[Node]]) -> Check:
    """Every node is ready, and has what its pods use."""
    name, expected = "nodes", "all are ready, without pressure"
    fix = "kubectl describe nodes says what is wrong"
    if isinstance(told, Unknown):
        return Check.unknown(name, expected=expected, why=told.why, fix=fix)
    wrong = [f"{one.name} is not ready" for one in told if not one.ready]
    wrong += [f"{one.name}: {', '.join(one.trouble)}" for one in told if one.ready and one.trouble]
    cause = "Likely cause: the node or its kubelet is gone, or its disk or memory is used up"
    detail = f"{'; '.join(wrong[:_SHOWN])}. {cause}" if wrong else ""
    return Check.none_wrong(
        name, wrong=len(wrong), of=len(told), what="nodes that are not", fix=fix, detail=detail
    )  # fmt: skip


def _service(service: str, told: Fact[str | None]) -> Check:
    name, expected = f"{service}: ready", "its /readyz says so"
    fix = f"kubectl logs deployment/{service}"
    if isinstance(told, Unknown):
        return Check.unknown(name, expected=expected, why=told.why, fix=fix)
    detail = "likely cause: what it names does not answer, or refuses it; a switch under way ends by itself"
    return Check.that(
        name, told is None, expected=expected, found=told or "it is", fix=fix, detail=detail if told is not None else ""
    )


def _backends(at: Resources, pods: Sequence[PodFacts]) -> Iterator[Check]:
    for component, stage in at.stages.items():
        for backend in sorted(deployed_backends(component, stage)):
            if backend in _BACKENDS.get(component, {}):
                app, asks = _BACKENDS[component][backend]
                yield _answers(f"{component.value}: {backend} answers", app, asks, pods)
            elif backend == "vllm":
                for app in at.models:
                    yield _answers(f"{component.value}: {app} answers", app, _MODELS, pods)


def _answers(name: str, app: str, asks: str, pods: Sequence[PodFacts]) -> Check:
    """As the kubelet asks it, beside it, every few seconds."""
    own = [one for one in pods if one.app == app and not one.over]
    expected, fix = f"every pod ready: {asks}", f"kubectl describe pod -l app={app}; kubectl logs -l app={app}"
    if not own:
        why = f"there is no pod of {app}"
        detail = f"{why}; likely cause: the last pulumi up failed, or somebody scaled it to nothing"
        return Check.that(name, False, expected=expected, found="0 pods", fix="pulumi up", detail=detail)
    not_ready = [one.name for one in own if not one.ready]
    detail = "likely cause: it starts, its volume is full, or its memory is too little" if not_ready else ""
    found = f"{', '.join(not_ready[:_SHOWN])} not ready" if not_ready else f"{len(own)} ready"
    return Check.that(name, not not_ready, expected=expected, found=found, fix=fix, detail=detail)


def _started(pods: Sequence[PodFacts]) -> Check:
    waiting = [one for one in pods if one.waits and not one.over]
    causes = {cause for one in waiting for reason, cause in _CAUSES.items() if one.waits.startswith(reason)}
    found = "; ".join(f"{one.name}: {one.waits[:200]}" for one in waiting[:_SHOWN])
    detail = f"{found}. Likely cause: {'; '.join(sorted(causes)) or 'as it says'}" if waiting else ""
    return Check.none_wrong(
        "pods: started", wrong=len(waiting), of=len(pods), what="pods that cannot run", detail=detail,
        fix=f"kubectl describe pod {waiting[0].name}" if waiting else "",
    )  # fmt: skip


def _killed(pods: Sequence[PodFacts], now: datetime) -> Check:
    """None was killed lately for the memory that it took; other restarts are told."""
    ended = [(one, *one.killed) for one in pods if one.killed is not None and now - one.killed[0] <= LATELY]
    starved = [one for one, _, reason in ended if reason == "OOMKilled"]
    told = [f"{one.name}: {reason or 'an error'} at {at:%Y-%m-%d %H:%M}" for one, at, reason in ended]
    detail = "; ".join(told[:_SHOWN])
    if starved:
        detail += ". Likely cause: more load than its size is meant for, or a limit that is too small"
    first = starved[0].name if starved else ""
    return Check.none_wrong(
        "pods: killed", wrong=len(starved), of=len(pods), what="pods out of memory in 24 h", detail=detail,
        fix=f"crossover:size; kubectl logs --previous {first}" if first else "",
    )  # fmt: skip


def _memory(pods: Sequence[PodFacts], used: Fact[Mapping[str, float]]) -> Check:
    name, expected = "pods: memory", f"at most {NEARLY_FULL:.0%} of its limit in use"
    if isinstance(used, Unknown):
        fix = "Install metrics-server, or look at container_memory_working_set_bytes where Prometheus is"
        return Check.unknown(name, expected=expected, why=used.why, fix=fix)
    limited = [one for one in pods if one.limit and one.name in used]
    near = [one for one in limited if used[one.name] > NEARLY_FULL * one.limit]
    found = "; ".join(f"{one.name} {_mib(used[one.name])} of {_mib(one.limit)} MiB" for one in near[:_SHOWN])
    detail = f"{found}. Likely cause: more load than its size is meant for" if near else ""
    return Check.none_wrong(
        name, wrong=len(near), of=len(limited), what="pods near their limit", detail=detail,
        fix="crossover:size, and for Redis its maxmemory: docs/preflight.md",
    )  # fmt: skip


def _room(told: Fact[Sequence[Volume]]) -> Check:
    name, expected = "volumes: room", f"at most {NEARLY_FULL:.0%} of each in use"
    if isinstance(told, Unknown):
        fix = "Needs the right to nodes/proxy; else look at kubelet_volume_stats_used_bytes where Prometheus is"
        return Check.unknown(name, expected=expected, why=told.why, fix=fix)
    full = [one for one in told if one.used > NEARLY_FULL * one.capacity]
    found = "; ".join(f"{one.claim} {_mib(one.used)} of {_mib(one.capacity)} MiB" for one in full[:_SHOWN])
    detail = f"{found}. Likely cause: retention, or WAL that waits for the other side" if full else ""
    return Check.none_wrong(
        name, wrong=len(full), of=len(told), what="volumes nearly full", detail=detail,
        fix="a larger storage in config where the class lets volumes grow; docs/limits.md",
    )  # fmt: skip


def _mib(count: float) -> str:
    return f"{count / (1 << 20):.0f}"
