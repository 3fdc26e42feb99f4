"""What a comparison found, kept in the route: by a run, which has the lock, and by a check, which takes it for that."""

from __future__ import annotations

from datetime import datetime

from adapters.routes.base import RouteError
from contracts.audit import Kind
from contracts.routes import Route
from cutover import auditing
from cutover.context import Context
from cutover.errors import CouldNotCheck, StepFailed
from cutover.plan import Transition
from validation.result import Verdict
from validation.verdicts import SHOWN, KeptVerdict

_VERDICTS = {
    Verdict.HOLDS.value: Verdict.HOLDS,
    StepFailed.verdict: Verdict.DOES_NOT_HOLD,
    CouldNotCheck.verdict: Verdict.COULD_NOT_CHECK,
}
"""Of the outcomes of a step; one that was interrupted has none."""


def sparing(context: Context, transition: Transition) -> KeptVerdict | None:
    """The verdict by which this switch need not compare anew, for a run of it was cut off after it had; None where it
    has to."""
    kept = KeptVerdict.read(context.route.verdict)
    if kept is None or not transition.switches:
        return None
    spared = kept.spares(transition.name, context.route.last_ended, context.clock(), context.verdict_limit)
    return kept if spared else None


def keep(context: Context, transition: Transition, outcome: str, detail: str, began: datetime) -> None:
    """Note what the comparison of a run found that began at `began`. It stands in no run's way that it cannot be."""
    evidence = context.take_evidence()
    if outcome not in _VERDICTS or context.lost_lock.is_set() or (evidence.spared and outcome == Verdict.HOLDS.value):
        return
    kept = KeptVerdict(
        outcome=_VERDICTS[outcome],
        at=min(began, evidence.since or began),
        active=context.route.active,
        ahead_of=transition.name if transition.switches else "",
        after=context.route.last_ended,
        positions=dict(evidence.positions),
        fingerprint=evidence.fingerprint,
        detail=detail[:SHOWN],
    )
    try:
        context.write(context.route.model_copy(update={"verdict": kept.to_json()}))
    except RouteError as error:
        context.say(f"  the verdict could not be kept: {error}")
        return
    context.audit.note(Kind.VERDICT, context.component, auditing.verdict(kept))


def keep_checked(context: Context, compared: Route, outcome: str, detail: str, began: datetime) -> None:
    """The same for a check of `compared`, unless a switch is under way or was made meanwhile: written without the lock,
    it would upset that."""
    try:
        context.lock.acquire(context.component, context.holder, 0.0)
    except RouteError as error:
        context.say(f"  the verdict was not kept: {error}")
        return
    try:
        route = context.read()
        if route is None or (route.epoch, route.stage) != (compared.epoch, compared.stage):
            context.say("  the verdict was not kept: a switch was made meanwhile")
            return
        keep(context, Transition(route.stage, route.stage, ()), outcome, detail, began)
    except RouteError as error:
        context.say(f"  the verdict was not kept: {error}")
    finally:
        context.lock.release(context.component, context.holder)
