"""What config asks of the route of the language models, and what a run does for that alone. Pure."""

from __future__ import annotations

from contracts.llm_moving import LlmMoving
from contracts.routes import Route
from contracts.stages import STAGE_TABLE, Stage
from cutover.tables import SHIFTING, Step


def share_at(stage: Stage, moving: LlmMoving) -> int | None:
    """What share of the conversations the side that serves answers at `stage`, as a route has it."""
    return moving.share if stage is Stage.SCALE else None


def sample_at(stage: Stage, moving: LlmMoving) -> float | None:
    """Of what part of the calls the other side gets a copy at `stage`, as a route has it."""
    return moving.sample if STAGE_TABLE[stage].follows is not None else None


def due(route: Route, wanted: Stage, moving: LlmMoving) -> tuple[Step, ...]:
    """At the stage that holds: another canary, which is watched, or another sample."""
    if wanted is not route.stage:
        return ()
    if route.share != share_at(wanted, moving):
        return SHIFTING
    return (Step.SHIFT,) if route.sample != sample_at(wanted, moving) else ()
