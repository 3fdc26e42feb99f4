"""Items on what surrounds the backends: adapters, clocks, rights in the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.known import Clock, Unknown
from adapters.routes.base import Permission
from contracts.registry import LEASE_SECONDS, PROTOCOL_VERSION, RENEW_SECONDS
from contracts.routes import route_name
from cutover.event_bus.preflight.situation import COMPONENT, Situation
from validation.result import Check

CLOCK_LIMIT = (LEASE_SECONDS - RENEW_SECONDS) / 2
"""An adapter counts as live until its renewal is LEASE_SECONDS old by the cutover's clock, and it renews every
RENEW_SECONDS: what lies between may be eaten up by two clocks, its own and the cutover's, so each has half. Further
off, a live adapter would pass for a dead one, and a fence would not wait for it."""

_LEASES = "coordination.k8s.io"
NEEDED = (
    *(Permission(verb, "configmaps", name=route_name(COMPONENT)) for verb in ("get", "patch")),
    *(Permission(verb, "leases", _LEASES) for verb in ("get", "list", "create", "patch", "delete")),
    Permission("list", "pods"),
)
"""What a switch does in the cluster: components/bus_access.py grants it."""
TOO_MUCH = (
    Permission("get", "secrets"),
    Permission("patch", "configmaps"),
    Permission("create", "pods"),
    Permission("patch", "statefulsets", "apps"),
    Permission("delete", "persistentvolumeclaims"),
)
"""A sample of what it never does: who has one of these has a role that was not made for a cutover."""


def protocol(at: Situation) -> Iterator[Check]:
    """Every live adapter obeys the fence of this version."""
    name, expected = "adapters: protocol", f"every live adapter speaks protocol {PROTOCOL_VERSION}"
    if isinstance(at.adapters, Unknown):
        yield Check.unknown(name, expected=expected, why=at.adapters.why, fix="See that the API server answers")
        return
    live = [record for record in at.adapters if record.live]
    unfit = [f"{r.name} (protocol {r.protocol_version})" for r in live if r.protocol_version != PROTOCOL_VERSION]
    yield Check.that(
        name,
        not unfit,
        expected=expected,
        found=f"adapters of another protocol are live: {', '.join(unfit)}" if unfit else f"{len(live)} do",
        fix="They could not be fenced. Roll their images to this version first",
    )


def alive(at: Situation) -> Iterator[Check]:
    """No adapter is silent while its pod is there, and where traffic is served somebody is known to serve it.

    Without any adapter a switch would wait for nobody: the seal would still hold off whoever is there, but a
    registry that shows none is more likely blind. Going back is not refused for that.
    """
    name, expected = "adapters: alive", "at least one, and none silent whose pod is there"
    unknown = next((fact.why for fact in (at.adapters, at.present) if isinstance(fact, Unknown)), None)
    if unknown is not None or isinstance(at.adapters, Unknown) or isinstance(at.present, Unknown):
        yield Check.unknown(name, expected=expected, why=str(unknown), fix="See that the API server answers")
        return
    live = [record for record in at.adapters if record.live]
    hung = [r for r in at.adapters if not r.live and any(_of(r.name, pod) for pod in at.present)]
    if not live and not hung and at.route is not None and not at.going_back:
        why = f"no adapter is known, though {at.serving} is said to serve: who writes to it could not be fenced"
        yield Check.unknown(name, expected=expected, why=why, fix="Start a service that uses the event bus")
        return
    found = ", ".join(f"{r.name} is silent for {r.age_seconds:.0f} s" for r in hung) or f"{len(live)} live"
    yield Check.that(
        name,
        not hung,
        expected=expected,
        found=found,
        fix="A fence would wait for them in vain. See whether those pods hang (kubectl get pods), and delete them",
    )


def _of(adapter: str, pod: str) -> bool:
    return adapter == pod or adapter.startswith(f"{pod}.")


def clocks(at: Situation) -> Iterator[Check]:
    """Leases are judged by clocks of several machines, and the age of events by another."""
    for backend, found in at.having(lambda facts: facts.clock):
        yield _clock(f"{backend}: clock", f"{backend}'s clock", found)
    yield _clock("api server: clock", "the API server's clock", at.api_clock)
    name, expected = "adapters: clocks", f"within {CLOCK_LIMIT:g} s of the API server's"
    if isinstance(at.adapters, Unknown):
        yield Check.unknown(name, expected=expected, why=at.adapters.why, fix="See that the API server answers")
        return
    told = {r.name: r.clock_ahead for r in at.adapters if r.clock_ahead is not None and r.live}
    off = [f"{adapter} is {ahead:+.1f} s off" for adapter, ahead in sorted(told.items()) if abs(ahead) > CLOCK_LIMIT]
    mute = sum(1 for record in at.adapters if record.live) - len(told)
    yield Check.that(
        name,
        not off,
        expected=expected,
        found=", ".join(off)
        or f"{len(told)} compared" + (f"; of {mute} the API server does not say when they renewed" if mute else ""),
        fix="Set the clocks of those nodes (chrony, systemd-timesyncd): their leases are misjudged",
    )


def _clock(name: str, whose: str, found: Clock | Unknown) -> Check:
    expected = f"within {CLOCK_LIMIT:g} s of this pod's"
    if isinstance(found, Unknown):
        return Check.unknown(name, expected=expected, why=found.why, fix="See that it answers")
    text = f"{whose} is {found.ahead:+.3f} s off, to within {found.within:.3f} s"
    if abs(found.ahead) - found.within > CLOCK_LIMIT:
        fix = "Set the clocks of the nodes (chrony, systemd-timesyncd): leases and the age of events are misjudged"
        return Check.that(name, False, expected=expected, found=text, fix=fix)
    if abs(found.ahead) + found.within > CLOCK_LIMIT:
        return Check.unknown(name, expected=expected, why=f"the answer took too long: {text}", fix="Run it again")
    return Check.that(name, True, expected=expected, found=text)


def permissions(at: Situation) -> Iterator[Check]:
    """This run may write the route and keep leases, and is not somebody who may do anything.

    Too much is no danger to data, so it does not hold up going back.
    """
    name, expected = "kubernetes: rights", "those of the role crossover-cutover, and no more"
    if isinstance(at.permissions, Unknown):
        fix = "Every user may ask by default (ClusterRole system:basic-user): bind that again"
        yield Check.unknown(name, expected=expected, why=at.permissions.why, fix=fix)
        return
    lacks = [f"may not {right}" for right in NEEDED if not at.permissions[right]]
    excess = [f"may also {right}" for right in TOO_MUCH if at.permissions[right]]
    yield Check.that(
        name,
        not lacks and (not excess or at.going_back),
        expected=expected,
        found="; ".join([*lacks, *excess]) or f"all {len(NEEDED)} that a switch needs, none of {len(TOO_MUCH)} others",
        fix="Run it as ServiceAccount crossover-cutover with the Role of that name alone (pulumi up makes both)",
    )
