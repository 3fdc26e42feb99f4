"""Preflight: what must hold before a transition of backtests touches anything, item by item. The items are pure; what
they decide over is asked for once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from adapters.backtesting.jobs import JobsError, JobsUnavailable, Offer
from adapters.known import Fact, Unknown
from adapters.routes.base import RouteError
from contracts.names import BACKTESTING_CUTOVER_NAME
from cutover import surroundings
from cutover.backtesting.work import COMPONENT, SEE_SERVICE, BacktestWork
from cutover.context import CouldNotCheck
from cutover.plan import Transition
from validation.backtesting import suite
from validation.result import Check

NEEDED = surroundings.needed(COMPONENT)


def examine(work: BacktestWork, transition: Transition) -> tuple[Check, ...]:
    """Ask once, then answer every item. Changes nothing."""
    context = work.context
    registry, cluster = context.registry, context.cluster
    adapters = _asked(lambda: tuple(registry.records(COMPONENT)))
    rights = _asked(lambda: {right: cluster.allows(right) for right in (*NEEDED, *surroundings.TOO_MUCH)})
    none = "no backtesting service makes itself known: nobody would follow the switch" if transition.origin else ""
    return (
        *_service(_offered(work)),
        surroundings.protocol(adapters),
        surroundings.alive(adapters, _asked(lambda: registry.present(COMPONENT)), none=none, start=SEE_SERVICE),
        surroundings.permissions(rights, NEEDED, BACKTESTING_CUTOVER_NAME, going_back=transition.goes_back),
    )


def _service(offer: Fact[Offer]) -> Iterator[Check]:
    """The service answers, and has bars for what the gate will ask."""
    name, expected = "service: answers", "its offer of strategies and symbols"
    if isinstance(offer, Unknown):
        yield Check.unknown(name, expected=expected, why=offer.why, fix=SEE_SERVICE)
        return
    found = f"{len(offer.legs)} strategies, {len(offer.symbols)} symbols, {offer.serving or 'somebody'} serves"
    yield Check.that(name, True, expected=expected, found=found)
    yield Check.that(
        "service: history",
        bool(suite(offer)),
        expected="bars of at least one symbol",
        found=", ".join(offer.symbols[:5]) or "none",
        fix="Mount a history: see docs/backtesting.md",
    )


def _offered(work: BacktestWork) -> Fact[Offer]:
    """What the service offers; waited for, for it may be starting."""
    found: list[Offer] = []
    seen = ["it was not asked"]

    def answered() -> bool:
        try:
            found.append(work.jobs.offer())
        except JobsUnavailable as error:
            seen[0] = str(error)
        except JobsError as error:
            seen[0] = str(error)
            return True
        return bool(found)

    with suppress(CouldNotCheck):
        work.context.until(
            answered,
            work.context.timing.answer,
            lambda: CouldNotCheck("it is silent"),
            every=0.5,
            note=lambda: f"the service does not answer yet: {seen[0]}",
        )
    return found[0] if found else Unknown(seen[0])


def _asked[T](ask: Callable[[], T]) -> Fact[T]:
    try:
        return ask()
    except RouteError as error:
        return Unknown(str(error))
