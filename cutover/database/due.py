"""What a run of the database does for config alone, wherever it journeys. Pure."""

from __future__ import annotations

from contracts.routes import Route
from contracts.stages import Stage
from cutover.tables import Step


def due(route: Route, wanted: Stage, *, tied: bool) -> tuple[Step, ...]:
    """Whether commits begin or end to wait; and once traffic fled, that what is stranded is told again. It stands in no
    one's way who leaves."""
    if route.stranded:
        return (Step.COUNT,)
    if route.stage is Stage.SCALE and bool(route.tied_since) != tied:
        if not tied:
            return (Step.UNTIE,)
        return (Step.TIE,) if wanted is Stage.SCALE else ()
    left = route.tied_since and route.stage is not Stage.SCALE  # by a switch that was undone
    return (Step.UNTIE,) if left and wanted is route.stage else ()
