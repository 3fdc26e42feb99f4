"""The fence: the next epoch is announced, and waited for until each adapter has acknowledged it. For any component."""

from __future__ import annotations

from collections.abc import Callable

from contracts.registry import AdapterRecord
from contracts.routes import Fence, Progress
from cutover.context import Context, StepFailed, utc_now
from cutover.plan import Step, Transition

_FOLLOW_SECONDS = 10.0
"""How long a live adapter may take to see a route that was written."""


def progress(transition: Transition, step: Step) -> Progress:
    """That `transition` has come to `step`, now."""
    return Progress(from_stage=transition.origin, to_stage=transition.goal, step=step.value, since=utc_now())


def announce(context: Context, transition: Transition) -> int:
    """Write the fence of the next epoch; that epoch."""
    epoch = context.route.epoch + 1
    context.write(
        context.route.model_copy(
            update={
                "fence": Fence(epoch=epoch, since=utc_now(), holder=context.holder),
                "progress": progress(transition, Step.FENCE),
            }
        )
    )
    return epoch


def await_acknowledged(context: Context, epoch: int, why: Callable[[], str], fix: str) -> str:
    """Wait until every adapter has acknowledged `epoch`; `why` and `fix` add to what is said where one does not.

    Raises StepFailed after the time-out of a fence.
    """
    context.until(
        lambda: not laggards(context, epoch),
        context.timing.fence,
        lambda: StepFailed(
            f"adapters did not acknowledge epoch {epoch} within {context.timing.fence:g} s: "
            + ", ".join(laggards(context, epoch))
            + why(),
            fix,
        ),
    )
    live = [record for record in context.registry.records(context.component) if record.live]
    return f"{len(live)} adapters hold, epoch {epoch}"


def laggards(context: Context, epoch: int) -> list[str]:
    """Adapters that may still write under an older epoch: unacknowledged ones that are live, and silent ones whose
    pod is not gone."""
    records = context.registry.records(context.component)
    waiting = [record for record in records if record.acknowledged_epoch < epoch]
    if not waiting:
        return []
    present = context.registry.present(context.component) if any(not r.live for r in waiting) else frozenset()
    return [f"{r.name} (last heard of {r.age_seconds:.0f} s ago)" for r in waiting if _counts(r, present)]


def await_followed(context: Context) -> None:
    """Wait until every live adapter has acknowledged the route's epoch. Raises StepFailed."""
    epoch = context.route.epoch
    context.until(
        lambda: not behind(context, epoch),
        _FOLLOW_SECONDS,
        lambda: StepFailed(
            f"live adapters do not follow epoch {epoch}: {', '.join(behind(context, epoch))}",
            "They did not see the route change; see their logs",
        ),
        every=0.1,
    )


def behind(context: Context, epoch: int) -> list[str]:
    """Live adapters that have not acknowledged `epoch`. Silent ones are not among them: an emergency does not wait for
    those."""
    records = context.registry.records(context.component)
    return [record.name for record in records if record.live and record.acknowledged_epoch < epoch]


def await_briefly(context: Context, missing: Callable[[], list[str]], seconds: float) -> list[str]:
    """Who is missing still when nobody is, or after `seconds`: an emergency goes on without them."""
    deadline = context.now() + seconds
    while (found := missing()) and context.now() < deadline:
        context.check_stop()
        context.rest(0.02)
    return found


def _counts(record: AdapterRecord, present: frozenset[str]) -> bool:
    """A silent adapter counts while its pod is there: it may only be frozen."""
    return record.live or any(record.name == pod or record.name.startswith(f"{pod}.") for pod in present)
