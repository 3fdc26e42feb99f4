"""What the steps of the language models' transitions share: who is who, and what was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.llm_moving import LlmMoving
from contracts.registry import RENEW_SECONDS
from contracts.stages import BACKENDS, Component, Side, deployed_backends, other_backend
from cutover.context import Context
from cutover.llm_service.asking import Model
from cutover.llm_service.gate import Judges
from cutover.plan import Transition

COMPONENT = Component.LLM_SERVICE
HOSTED, OURS = BACKENDS[COMPONENT][Side.OLD], BACKENDS[COMPONENT][Side.NEW]
SEE_ORCHESTRATOR = "See kubectl logs deployment/llm-orchestrator"

Models = Mapping[str, Mapping[str, Model]]
"""By backend and alias."""


def other(backend: str) -> str:
    """The backend that is not `backend`."""
    return other_backend(COMPONENT, backend)


def needed(transition: Transition) -> tuple[str, ...]:
    """The backends that `transition` depends on: those that are there at its goal, but for one that is left: it may be
    dead, and is not asked."""
    return (HOSTED,) if transition.goes_back else tuple(sorted(deployed_backends(COMPONENT, transition.goal)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Limits in seconds. `answer`: of one generation; `load`: until a model has come up; `told`: how old the figures of
    an adapter may be; `quiet`: how long a watch goes on for want of calls, or of its sample; `question`: between two
    questions of its own; `drain`: for calls under way at a side that leaves."""

    answer: float = 60.0
    load: float = 900.0
    told: float = RENEW_SECONDS + 1
    quiet: float = 30.0
    question: float = 1.0
    drain: float = 120.0


class LlmWork:
    """One run's view of both sides. `front`: the orchestrator, as callers see it."""

    def __init__(
        self, context: Context, models: Models, front: Model, judges: Judges, moving: LlmMoving, pace: Pace
    ) -> None:
        self.context = context
        self.models = models
        self.front = front
        self.judges = judges
        self.moving = moving
        self.pace = pace

    @property
    def active(self) -> str:
        """The backend that serves now."""
        return self.context.route.active

    @property
    def passive(self) -> str:
        """The backend that does not serve now."""
        return other(self.context.route.active)

    def of(self, *backends: str) -> tuple[Model, ...]:
        """The models of these backends, each by every alias."""
        return tuple(model for backend in backends for model in self.models[backend].values())
