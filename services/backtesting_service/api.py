"""The backtesting service's HTTP API."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from adapters.backtesting.strategies import legs, names, parameter_names
from adapters.backtesting.strategies.own import KNOWN
from contracts.backtests import Divergence, Result
from contracts.names import BACKTESTING_NAME
from services.backtesting_service.bars_api import add_bars
from services.backtesting_service.errors import REFUSED, UNREADABLE, ErrorModel
from services.backtesting_service.errors import error_answer as _error
from services.backtesting_service.imports import Imports
from services.backtesting_service.models import BacktestRequest, Run, RunState
from services.backtesting_service.reporting import reported
from services.backtesting_service.routing import NotServed
from services.backtesting_service.runs import AlreadyEnded, CannotKeep, Runs, TooManyRuns, UnknownSymbol
from services.backtesting_service.store import RunStore
from services.backtesting_service.sweeps import Sweeps
from services.backtesting_service.sweeps_api import add_sweeps
from services.common.web import Health, Lifecycle, create_app

_DESCRIPTION = (
    "Submit a backtest, follow its state, read its result. A request is its own identity: the same request on the "
    "same engine and bars is the same run, so sending it again is safe and does the work once."
)


class Table(StrEnum):
    """Files of a result."""

    EQUITY = "equity"
    ORDERS = "orders"
    TRADES = "trades"


class RunPage(BaseModel):
    """Runs, newest first. Give `next` as `after` for the following page; null at the end."""

    items: list[Run]
    next: str | None


class Compared(BaseModel):
    """A run that both engines did."""

    run_id: str
    divergence: Divergence


class ComparedPage(BaseModel):
    """Runs that both engines did, newest first: of how many in all, and how many of these differ."""

    items: list[Compared]
    compared: int
    differing: int


class StrategyModel(BaseModel):
    """A strategy that can be asked for, the names of its parameters, and how many symbols it trades."""

    name: str
    parameters: list[str]
    symbols: int = 1


class Offer(BaseModel):
    """What can be asked for; engines that are deployed now, and the one that takes what names none. `unusable`: files
    of the user's that give no strategy, and why."""

    strategies: list[StrategyModel]
    symbols: list[str]
    engines: list[str] = []
    serving: str = ""
    unusable: dict[str, str] = {}


RunId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The run's id.")]
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": ErrorModel, "description": "There is no such run."}}
_NOT_COMPARED: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorModel, "description": "There is no such run, or one engine alone did it."}
}
_ENDED: dict[int | str, dict[str, Any]] = {409: {"model": ErrorModel, "description": "The run has ended."}}
_PARQUET_TYPE = "application/vnd.apache.parquet"
_PARQUET: dict[int | str, dict[str, Any]] = {
    200: {"content": {_PARQUET_TYPE: {}}, "description": "The file."},
    404: {"model": ErrorModel, "description": "There is no such run, or it has no such file."},
}
_REPORT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {}}, "description": "A page that needs no network."},
    404: {"model": ErrorModel, "description": "There is no such run, or it is not done."},
}
_NOT_READY: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorModel, "description": "The run has not ended, or it failed."}
}
_SUBMITTED: dict[int | str, dict[str, Any]] = {
    200: {"model": Run, "description": "The run was submitted before; it stands as it does."},
    202: {"description": "Queued. Location says where to follow it."},
    503: {"model": ErrorModel, "description": "Too many runs wait, or the volume is full."},
    **UNREADABLE,
    **REFUSED,
}


def _tell_errors(app: FastAPI) -> None:
    def busy(request: Request, error: Exception) -> JSONResponse:
        del request
        return _error(503, str(error), retryable=True)

    def unknown(request: Request, error: Exception) -> JSONResponse:
        del request
        return _error(422, str(error))

    handlers = {TooManyRuns: busy, CannotKeep: busy, UnknownSymbol: unknown, NotServed: unknown}
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def create_api(
    runs: Runs,
    store: RunStore,
    health: Health,
    lifecycle: Lifecycle | None = None,
    *,
    imports: Imports | None = None,
    sweeps: Sweeps | None = None,
) -> FastAPI:
    """The app of the backtesting service."""
    app = create_app(BACKTESTING_NAME, "Backtesting service", _DESCRIPTION, health=health, lifecycle=lifecycle)

    _tell_errors(app)

    @app.post("/backtests", tags=["backtests"], status_code=202, responses=_SUBMITTED)
    def submit(request: BacktestRequest, response: Response) -> Run:
        """Submit a backtest."""
        run, new = runs.submit(request)
        response.status_code = 202 if new else 200
        response.headers["location"] = f"/backtests/{run.id}"
        return run

    @app.get("/backtests", tags=["backtests"])
    def listed(
        limit: Annotated[int, Query(ge=1, le=1000, description="The most items in the page.")] = 100,
        after: Annotated[str | None, Query(description="Only runs that come after this id.")] = None,
    ) -> RunPage:
        """Runs, newest first."""
        known = store.all()
        place = next((number + 1 for number, run in enumerate(known) if run.id == after), 0)
        items = known[place : place + limit]
        return RunPage(items=items, next=items[-1].id if place + limit < len(known) else None)

    @app.get("/backtests/{run_id}", tags=["backtests"], response_model=Run, responses=_NOT_FOUND)
    def followed(run_id: RunId) -> Run | JSONResponse:
        """How a run stands."""
        return store.get(run_id) or _error(404, f"there is no run {run_id}")

    @app.post("/backtests/{run_id}/cancel", tags=["backtests"], response_model=Run, responses={**_NOT_FOUND, **_ENDED})
    def cancelled(run_id: RunId) -> Run | JSONResponse:
        """End a run that waits or runs. One that runs is `cancelled` once its process has ended."""
        try:
            return runs.cancel(run_id) or _error(404, f"there is no run {run_id}")
        except AlreadyEnded as error:
            return _error(409, str(error))

    @app.get("/backtests/{run_id}/divergence", tags=["divergences"], response_model=Divergence, responses=_NOT_COMPARED)
    def divergence(run_id: RunId) -> Divergence | JSONResponse:
        """What the other engine made of a run, where it did it, too."""
        return store.divergence(run_id) or _error(404, f"run {run_id} was not compared")

    @app.get("/divergences", tags=["divergences"])
    def divergences(
        limit: Annotated[int, Query(ge=1, le=1000, description="The most items in the page.")] = 100,
        differing: Annotated[bool, Query(description="Only those that differ.")] = False,
    ) -> ComparedPage:
        """Runs that both engines did, newest first."""
        known = [(run.id, found) for run in store.all() if (found := store.divergence(run.id)) is not None]
        items = [Compared(run_id=run_id, divergence=found) for run_id, found in known if not (differing and found.same)]
        wrong = sum(not found.same for _, found in known)
        return ComparedPage(items=items[:limit], compared=len(known), differing=wrong)

    @app.get(
        "/backtests/{run_id}/result", tags=["backtests"], response_model=Result, responses={**_NOT_FOUND, **_NOT_READY}
    )
    def result(run_id: RunId) -> Response:
        """What a run came to."""
        run = store.get(run_id)
        if run is None:
            return _error(404, f"there is no run {run_id}")
        if run.state is RunState.FAILED:
            return _error(409, f"the run failed: {run.error}")
        if run.state is RunState.CANCELLED:
            return _error(409, "the run was cancelled")
        if run.state is not RunState.DONE:
            return _error(409, f"the run is {run.state.value}: there is no result yet", retryable=True)
        return Response(store.result(run_id), media_type="application/json")

    @app.get("/backtests/{run_id}/{table}.parquet", tags=["backtests"], response_class=Response, responses=_PARQUET)
    def rows(run_id: RunId, table: Table) -> Response:
        """The rows of a run that is done, as Parquet: its equity at each bar, its orders, or its trades."""
        try:
            return Response(store.result(run_id, f"{table.value}.parquet"), media_type=_PARQUET_TYPE)
        except FileNotFoundError:
            return _error(404, f"run {run_id} has no {table.value}.parquet: it is not done, or of an earlier version")

    @app.get("/backtests/{run_id}/report.html", tags=["backtests"], response_class=Response, responses=_REPORT)
    def report(run_id: RunId) -> Response:
        """A run that is done, drawn: beside what the other engine made of it, where it did it, too."""
        found = reported(store, run_id)
        return Response(found, media_type="text/html") if found else _error(404, f"run {run_id} has no result to draw")

    @app.get("/offer", tags=["backtests"])
    def offer() -> Offer:
        """The strategies and symbols that a request may name."""
        strategies = [
            StrategyModel(name=name, parameters=list(parameter_names(name)), symbols=legs(name)) for name in names()
        ]
        plan = runs.plan()
        return Offer(
            strategies=strategies, symbols=list(runs.symbols), engines=sorted(plan.deployed), serving=plan.active,
            unusable={name: one.problem for name, one in KNOWN.described.items() if one.problem},
        )  # fmt: skip

    add_bars(app, runs.histories, imports, runs.unused)
    if sweeps is not None:
        add_sweeps(app, sweeps)
    return app
