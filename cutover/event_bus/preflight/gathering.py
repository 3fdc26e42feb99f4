"""Asks backends, adapters and the cluster for all that preflight decides over. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from adapters.event_bus.errors import AccessDenied, BackendUnavailable, EventBusError
from adapters.event_bus.facts import Gap, LogFacts
from adapters.known import Clock, Fact, Unknown
from adapters.routes.base import Permission, RouteError
from contracts.stages import deployed_backends
from cutover.context import CouldNotCheck
from cutover.event_bus.preflight.situation import COMPONENT, Refused, Situation
from cutover.event_bus.work import BusWork
from cutover.plan import Transition


def gather(work: BusWork, transition: Transition, permissions: Iterable[Permission]) -> Situation:
    """The situation before `transition`. Waits for backends that do not answer yet, for they may just be starting."""
    route = work.context.seen.route
    needed = set(deployed_backends(COMPONENT, transition.goal))
    if route is not None:
        needed.add(route.active)
    facts = _facts(work, sorted(needed))
    told = {name: found for name, found in facts.items() if not isinstance(found, Unknown)}
    registry, cluster = work.context.registry, work.context.cluster
    return Situation(
        transition=transition,
        route=route,
        settings=work.logs[sorted(needed)[0]].settings,
        topics=work.topics,
        needed=tuple(sorted(needed)),
        facts=facts,
        gaps=_gaps(work, told),
        largest=_largest(work, told),
        adapters=_asked(lambda: tuple(registry.records(COMPONENT))),
        present=_asked(lambda: registry.present(COMPONENT)),
        api_clock=_asked(lambda: _clock(*cluster.clock_ahead())),
        permissions=_asked(lambda: {permission: cluster.allows(permission) for permission in permissions}),
        volumes=work.volumes,
    )


def _clock(ahead: float, within: float) -> Clock:
    return Clock(ahead=ahead, within=within)


def _asked[T](ask: Callable[[], T]) -> Fact[T]:
    try:
        return ask()
    except (EventBusError, RouteError) as error:
        return Unknown(str(error))


def _facts(work: BusWork, needed: Sequence[str]) -> Mapping[str, Fact[LogFacts]]:
    context = work.context
    found: dict[str, Fact[LogFacts]] = {}
    silent: dict[str, str] = dict.fromkeys(needed, "not asked yet")

    def answered() -> bool:
        for name in list(silent):
            try:
                found[name] = work.logs[name].facts()
            except AccessDenied as error:
                found[name] = Refused(str(error))
            except BackendUnavailable as error:
                silent[name] = str(error)
                continue
            except EventBusError as error:
                found[name] = Unknown(str(error))
            del silent[name]
        return not silent

    seconds = context.timing.answer
    with suppress(CouldNotCheck):
        context.until(
            answered,
            seconds,
            lambda: CouldNotCheck(f"no answer within {seconds:g} s"),
            every=0.5,
            note=lambda: "; ".join(f"{name} does not answer yet: {why}" for name, why in silent.items()),
        )
    return found | {name: Unknown(f"no answer within {seconds:g} s: {why}") for name, why in silent.items()}


def _gaps(work: BusWork, told: Mapping[str, LogFacts]) -> Mapping[str, Fact[Sequence[Gap]]]:
    """By backend. A group is looked for on both: it may not have come to the one that serves yet."""
    route = work.context.seen.route
    if route is None:
        return {}

    def groups(topic: str) -> set[str]:
        return {
            state.group
            for name, facts in told.items()
            if _exists(facts, topic)
            for state in work.logs[name].groups(topic)
        }

    def of(backend: str, known: Mapping[str, set[str]]) -> Sequence[Gap]:
        found: list[Gap] = []
        for topic, names in known.items():
            segments = [segment for segment in route.chain(topic) if segment.backend == backend]
            if names and segments and _exists(told[backend], topic):
                found += work.logs[backend].gaps(topic, segments, names)
        return found

    known = _asked(lambda: {topic: groups(topic) for topic in route.chains})
    if isinstance(known, Unknown):
        return dict.fromkeys(told, known)
    return {backend: _asked(partial(of, backend, known)) for backend in told}


def _exists(facts: LogFacts, topic: str) -> bool:
    return topic in facts.topics and facts.topics[topic].exists


def _largest(work: BusWork, told: Mapping[str, LogFacts]) -> Mapping[str, Fact[int]]:
    """By topic, of what the other backend has not been given yet, where that takes no message of any size."""
    route = work.context.seen.route
    if route is None or set(told) <= {route.active} or route.active not in told:
        return {}
    target = next(name for name in told if name != route.active)

    def of(topic: str) -> int:
        copied = work.logs[target].copied(topic, route.active) if _exists(told[target], topic) else None
        return work.logs[route.active].largest(topic, copied or {})

    limited = [topic for topic in work.topics if told[target].topics[topic].limits is not None]
    return {topic: _asked(partial(of, topic)) for topic in limited}
