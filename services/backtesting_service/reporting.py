"""Runs drawn, as a page."""

from __future__ import annotations

from pydantic import ValidationError

from adapters.backtesting.curves import drawn
from adapters.backtesting.drawing import page
from contracts.backtests import Result
from services.backtesting_service.models import Run, RunState
from services.backtesting_service.store import RunStore


def reported(store: RunStore, run_id: str) -> str | None:
    """The page of a run that is done, and of the same by the other engine where that is done, too; None where there
    is no result."""
    run = store.get(run_id)
    found = [_result(store, one) for one in (run, _other(store, run)) if one is not None]
    results = [result for result in found if result is not None and result.equity]
    if run is None or found[:1] == [None] or not results:
        return None
    lines = [f"Run {run.id}, asked for on {run.submitted_at:%Y-%m-%d %H:%M} UTC."]
    return page(f"{run.request.strategy} on {' and '.join(run.request.symbols)}", lines, [drawn(results)])


def _other(store: RunStore, run: Run | None) -> Run | None:
    """The run of the same request by the other engine."""
    if run is None:
        return None
    asked = run.request.model_copy(update={"engine": None})
    return next(
        (
            one
            for one in store.all()
            if one.engine != run.engine and one.request.model_copy(update={"engine": None}) == asked
        ),
        None,
    )


def _result(store: RunStore, run: Run) -> Result | None:
    if run.state is not RunState.DONE:
        return None
    try:
        return Result.model_validate_json(store.result(run.id))
    except (OSError, ValidationError):
        return None
