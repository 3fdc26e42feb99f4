"""Asks models, adapters and the cluster for all that preflight decides over. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from adapters.known import Fact, Unknown
from adapters.routes.base import RouteError
from cutover import surroundings
from cutover.context import CouldNotCheck
from cutover.llm_service import asking
from cutover.llm_service.asking import Model, Refused, Wrong
from cutover.llm_service.preflight.cluster_items import NEEDED
from cutover.llm_service.preflight.situation import Situation
from cutover.llm_service.work import COMPONENT, OURS, LlmWork, needed
from cutover.plan import Step, Transition


def gather(work: LlmWork, transition: Transition) -> Situation:
    """The situation before `transition`. Waits a while for endpoints that do not answer yet: they may be starting. One
    that joins is asked for generations later, by WARM_UP, which waits until its models have come up."""
    context = work.context
    models = work.of(*needed(transition))
    listed = _listed(work, models)
    joins = {work.passive} if Step.WARM_UP in transition.steps else set()
    asked = [m for m, found in listed.items() if not isinstance(found, Unknown) and m.backend not in joins]
    registry, cluster = context.registry, context.cluster
    rights = (*NEEDED, *surroundings.TOO_MUCH)
    on_gpus = bool(work.moving.gpus.root) and any(model.backend == OURS for model in models)
    return Situation(
        transition=transition,
        route=context.seen.route,
        listed=listed,
        answers=asking.generations(asked, work.pace.answer),
        adapters=_asked(lambda: tuple(registry.records(COMPONENT))),
        present=_asked(lambda: registry.present(COMPONENT)),
        permissions=_asked(lambda: {right: cluster.allows(right) for right in rights}),
        gpus=work.moving.gpus.root,
        nodes=_asked(lambda: tuple(context.nodes.with_gpus())) if on_gpus else (),
    )


def _asked[T](ask: Callable[[], T]) -> Fact[T]:
    try:
        return ask()
    except RouteError as error:
        return Unknown(str(error))


def _listed(work: LlmWork, models: Sequence[Model]) -> dict[Model, Fact[Sequence[str]]]:
    found: dict[Model, Fact[Sequence[str]]] = {}
    silent = list(models)

    def answered() -> bool:
        nonlocal silent
        found.update(asking.listed(silent, work.pace.answer))
        silent = [m for m in silent if isinstance(found[m], Unknown) and not isinstance(found[m], Refused | Wrong)]
        return not silent

    with suppress(CouldNotCheck):  # what is silent still is told as such
        work.context.until(
            answered,
            work.context.timing.answer,
            lambda: CouldNotCheck("some are silent"),
            every=0.5,
            note=lambda: "; ".join(f"{m.backend} does not answer yet as {m.alias}" for m in silent),
        )
    return found
