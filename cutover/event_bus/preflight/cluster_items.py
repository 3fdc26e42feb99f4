"""Items on what surrounds the backends: adapters, clocks, rights in the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.known import Clock, Unknown
from contracts.registry import LEASE_SECONDS, RENEW_SECONDS
from cutover import surroundings
from cutover.event_bus.preflight.situation import COMPONENT, Situation
from cutover.surroundings import TOO_MUCH
from validation.result import Check

__all__ = ["CLOCK_LIMIT", "NEEDED", "TOO_MUCH", "alive", "clocks", "permissions", "protocol"]

CLOCK_LIMIT = (LEASE_SECONDS - RENEW_SECONDS) / 2
"""An adapter counts as live until its renewal is LEASE_SECONDS old by the cutover's clock, and it renews every
RENEW_SECONDS: what lies between may be eaten up by two clocks, its own and the cutover's, so each has half. Further
off, a live adapter would pass for a dead one, and a fence would not wait for it."""

NEEDED = surroundings.needed(COMPONENT)


def protocol(at: Situation) -> Iterator[Check]:
    """Every live adapter obeys the fence of this version."""
    yield surroundings.protocol(at.adapters)


def alive(at: Situation) -> Iterator[Check]:
    """No adapter is silent while its pod is there, and where traffic is served somebody is known to serve it.

    Without any adapter a switch would wait for nobody: the seal would still hold off whoever is there, but a
    registry that shows none is more likely blind. Going back is not refused for that.
    """
    none = f"no adapter is known, though {at.serving} is said to serve: who writes to it could not be fenced"
    served = at.route is not None and not at.going_back
    yield surroundings.alive(
        at.adapters, at.present, none=none if served else "", start="Start a service that uses the event bus"
    )


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
    """This run may write the route and keep leases, and is not somebody who may do anything."""
    yield surroundings.permissions(at.permissions, NEEDED, "crossover-cutover", going_back=at.going_back)
