"""Runs that both engines do, and what came of both."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import ValidationError

from adapters.backtesting.comparing import compared as compare
from adapters.backtesting.comparing import one_failed
from contracts.backtests import Divergence, Result
from services.backtesting_service.models import Run, RunState
from services.backtesting_service.store import RunStore


def twin(run: Run, run_id: str, engine: str) -> Run:
    """`run` for `engine`, too."""
    return Run(
        id=run_id,
        engine=engine,
        request=run.request,
        state=RunState.QUEUED,
        submitted_at=datetime.now(UTC),
        twin_of=run.id,
    )


def compared(store: RunStore, first: str, second: str) -> Divergence | None:
    """What differs between two runs that are done; None where a result was removed, or is of another version."""
    try:
        results = [Result.model_validate_json(store.result(run_id)) for run_id in (first, second)]
    except (OSError, ValidationError):
        return None
    return compare(*results)


def failed(first: Run | None, second: Run, why: str) -> Divergence | None:
    """That one engine did what the other could not; None where the first is gone."""
    if first is None:
        return None
    return one_failed((first.engine, second.engine), second.engine, why)
