"""The stages of a component's journey, and which side is deployed and serves in each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Component(StrEnum):
    """The four components, named as in stack config."""

    EVENT_BUS = "event_bus"
    LLM_SERVICE = "llm_service"
    DATABASE = "database"
    BACKTESTING = "backtesting"

    @property
    def slug(self) -> str:
        """The name as Kubernetes allows it: `event_bus` -> `event-bus`."""
        return self.value.replace("_", "-")


class Stage(StrEnum):
    """Where a component stands on its way from the MVP backend to the Scale backend."""

    MVP = "mvp"
    SHADOW = "shadow"
    SCALE = "scale"
    COMPLETE = "complete"


class Side(StrEnum):
    """The two ends of a journey: the MVP backend and the Scale backend."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class StageRow:
    """One row of the stage table: what is deployed, who serves, who is kept in step."""

    deployed: frozenset[Side]
    serves: Side
    follows: Side | None


STAGE_TABLE: dict[Stage, StageRow] = {
    Stage.MVP: StageRow(frozenset({Side.OLD}), Side.OLD, None),
    Stage.SHADOW: StageRow(frozenset({Side.OLD, Side.NEW}), Side.OLD, Side.NEW),
    Stage.SCALE: StageRow(frozenset({Side.OLD, Side.NEW}), Side.NEW, Side.OLD),
    Stage.COMPLETE: StageRow(frozenset({Side.NEW}), Side.NEW, None),
}

BACKENDS: dict[Component, dict[Side, str]] = {
    Component.EVENT_BUS: {Side.OLD: "redis", Side.NEW: "kafka"},
    Component.LLM_SERVICE: {Side.OLD: "hosted", Side.NEW: "vllm"},
    Component.DATABASE: {Side.OLD: "hosted", Side.NEW: "selfhosted"},
    Component.BACKTESTING: {Side.OLD: "vectorbt", Side.NEW: "nautilus"},
}


def backend_of(component: Component, side: Side) -> str:
    """The backend that plays `side` for `component`."""
    return BACKENDS[component][side]


def other_backend(component: Component, backend: str) -> str:
    """The backend of `component` that is not `backend`."""
    first, second = sorted(BACKENDS[component].values())
    return second if backend == first else first


def serving_backend(component: Component, stage: Stage) -> str:
    """The backend that answers callers of `component` at `stage`."""
    return backend_of(component, STAGE_TABLE[stage].serves)


def deployed_backends(component: Component, stage: Stage) -> frozenset[str]:
    """The backends that exist for `component` at `stage`."""
    return frozenset(backend_of(component, side) for side in STAGE_TABLE[stage].deployed)
