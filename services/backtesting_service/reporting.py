"""Runs drawn, as a page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

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
    first = None if run is None else _result(store, run)
    if run is None or first is None or not first.equity:
        return None
    others = (found for one in _others(store, run) if (found := _result(store, one)) is not None)
    over_the_same = (found for found in others if _over(found) == _over(first) and found.equity)
    results = [first, *islice(over_the_same, 1)]
    lines = [f"Run {run.id}, asked for on {run.submitted_at:%Y-%m-%d %H:%M} UTC."]
    return page(f"{run.request.strategy} on {' and '.join(run.request.symbols)}", lines, [drawn(results)])


def _others(store: RunStore, run: Run) -> Iterator[Run]:
    """The runs of the same request by the other engine, the newest first."""
    asked = run.request.model_copy(update={"engine": None})
    for one in store.all():
        if one.engine != run.engine and one.request.model_copy(update={"engine": None}) == asked:
            yield one


def _over(result: Result) -> tuple[list[str], str | None]:
    """Which bars, and which version of a strategy."""
    return result.bars_sha256, result.source_sha256


def _result(store: RunStore, run: Run) -> Result | None:
    if run.state is not RunState.DONE:
        return None
    try:
        return Result.model_validate_json(store.result(run.id))
    except (OSError, ValidationError):
        return None
