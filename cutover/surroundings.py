"""Items of preflight on what surrounds the backends of any component: adapters, and rights in the cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.known import Fact, Unknown
from adapters.routes.base import Permission
from contracts.registry import PROTOCOL_VERSION, AdapterRecord
from contracts.routes import route_name
from contracts.stages import Component
from validation.result import Check

_LEASES = "coordination.k8s.io"
TOO_MUCH = (
    Permission("get", "secrets"),
    Permission("patch", "configmaps"),
    Permission("create", "pods"),
    Permission("patch", "statefulsets", "apps"),
    Permission("delete", "persistentvolumeclaims"),
)
"""A sample of what a switch never does: who has one of these has a role that was not made for a cutover."""


def needed(component: Component) -> tuple[Permission, ...]:
    """What a switch of `component` does in the cluster: components/bus_access.py grants it."""
    return (
        *(Permission(verb, "configmaps", name=route_name(component)) for verb in ("get", "patch")),
        *(Permission(verb, "leases", _LEASES) for verb in ("get", "list", "create", "patch", "delete")),
        Permission("list", "pods"),
    )


def protocol(adapters: Fact[Sequence[AdapterRecord]]) -> Check:
    """Every live adapter obeys the routes of this version."""
    name, expected = "adapters: protocol", f"every live adapter speaks protocol {PROTOCOL_VERSION}"
    if isinstance(adapters, Unknown):
        return Check.unknown(name, expected=expected, why=adapters.why, fix="See that the API server answers")
    live = [record for record in adapters if record.live]
    unfit = [f"{r.name} (protocol {r.protocol_version})" for r in live if r.protocol_version != PROTOCOL_VERSION]
    return Check.that(
        name,
        not unfit,
        expected=expected,
        found=f"adapters of another protocol are live: {', '.join(unfit)}" if unfit else f"{len(live)} do",
        fix="They could not be fenced. Roll their images to this version first",
    )


def alive(
    adapters: Fact[Sequence[AdapterRecord]], present: Fact[frozenset[str]], *, none: str = "", start: str = ""
) -> Check:
    """No adapter is silent while its pod is there, and somebody is known to be one; `none`: what is said where nobody
    is, with `start` as the fix, and empty where that is as it may be. A registry that shows nobody is more likely
    blind."""
    name, expected = "adapters: alive", "at least one, and none silent whose pod is there"
    if isinstance(adapters, Unknown) or isinstance(present, Unknown):
        why = adapters.why if isinstance(adapters, Unknown) else present.why if isinstance(present, Unknown) else ""
        return Check.unknown(name, expected=expected, why=why, fix="See that the API server answers")
    live = [record for record in adapters if record.live]
    hung = [r for r in adapters if not r.live and any(_of(r.name, pod) for pod in present)]
    if not live and not hung and none:
        return Check.unknown(name, expected=expected, why=none, fix=start)
    found = ", ".join(f"{r.name} is silent for {r.age_seconds:.0f} s" for r in hung) or f"{len(live)} live"
    return Check.that(
        name,
        not hung,
        expected=expected,
        found=found,
        fix="A fence would wait for them in vain. See whether those pods hang (kubectl get pods), and delete them",
    )


def _of(adapter: str, pod: str) -> bool:
    return adapter == pod or adapter.startswith(f"{pod}.")


def permissions(
    found: Fact[Mapping[Permission, bool]], wanted: Sequence[Permission], role: str, *, going_back: bool
) -> Check:
    """This run may do what is `wanted`, and is not somebody who may do anything. Too much is no danger to data, so it
    does not hold up going back."""
    name, expected = "kubernetes: rights", f"those of the role {role}, and no more"
    if isinstance(found, Unknown):
        fix = "Every user may ask by default (ClusterRole system:basic-user): bind that again"
        return Check.unknown(name, expected=expected, why=found.why, fix=fix)
    lacks = [f"may not {right}" for right in wanted if not found[right]]
    excess = [f"may also {right}" for right in TOO_MUCH if found[right]]
    return Check.that(
        name,
        not lacks and (not excess or going_back),
        expected=expected,
        found="; ".join([*lacks, *excess]) or f"all {len(wanted)} that a switch needs, none of {len(TOO_MUCH)} others",
        fix=f"Run it as ServiceAccount {role} with the Role of that name alone (pulumi up makes both)",
    )
