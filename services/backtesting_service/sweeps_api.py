"""The HTTP API of sweeps. Pods that run them put their pieces here, so that they share no volume."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from adapters.backtesting.drawing import heat_map_page
from adapters.backtesting.histories import HistoryError
from adapters.backtesting.jobs import JobRefused
from adapters.backtesting.sweeps.mapping import How
from adapters.backtesting.sweeps.parts import MOST_BYTES
from adapters.backtesting.sweeps.standing import map_of, standing_of, state_of
from adapters.backtesting.sweeps.tables import MEDIA_TYPE
from contracts.sweeps import MOST_INDEXES, Standing, SweepAsked, SweepState
from services.backtesting_service.errors import REFUSED, UNREADABLE, ErrorModel, error_answer
from services.backtesting_service.sweeps import Sweeps, UnknownSweep

_SweepId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The sweep's id.")]
_Index = Annotated[int, Path(ge=0, lt=MOST_INDEXES, description="The piece's number.")]
_Responses = dict[int | str, dict[str, Any]]
_NOT_FOUND: _Responses = {404: {"model": ErrorModel, "description": "There is no such sweep, or piece."}}
_PARQUET: _Responses = {200: {"content": {MEDIA_TYPE: {}}, "description": "The file."}, **_NOT_FOUND}
_NOT_WHOLE: _Responses = {409: {"model": ErrorModel, "description": "Not all pieces are done."}}
_KNOWN: _Responses = {
    200: {"model": SweepState, "description": "It was asked for before; it stands as it does."},
    **UNREADABLE,
    **REFUSED,
}
_BODY = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}}
_PUT: _Responses = {
    200: {"description": "It was there before, and stays as it is."},
    413: {"model": ErrorModel, "description": "The piece is too large."},
    503: {"model": ErrorModel, "description": "The piece cannot be kept: the volume is full."},
    **REFUSED,
    **_NOT_FOUND,
}
_DELETED: _Responses = {503: {"model": ErrorModel, "description": "It cannot be deleted now."}, **_NOT_FOUND}
_SHOWN: _Responses = {200: {"content": {"text/html": {}}, "description": "A page."}, **REFUSED, **_NOT_FOUND}


def add_sweeps(app: FastAPI, sweeps: Sweeps) -> None:
    """Add the routes of sweeps."""

    @app.exception_handler(UnknownSweep)
    def unknown(request: Request, error: UnknownSweep) -> JSONResponse:
        del request
        return error_answer(404, str(error))

    @app.exception_handler(JobRefused)
    def gone(request: Request, error: JobRefused) -> JSONResponse:
        """A piece that is not there, or not any more: the sweep is deleted while it is read."""
        del request
        return error_answer(404, str(error))

    _add_writing(app, sweeps)
    _add_reading(app, sweeps)
    _add_showing(app, sweeps)


def _add_writing(app: FastAPI, sweeps: Sweeps) -> None:
    @app.post("/sweeps", tags=["sweeps"], status_code=202, response_model=SweepState, responses=_KNOWN)
    def register(asked: SweepAsked, response: Response) -> SweepState | JSONResponse:
        """Ask for a sweep. It is kept, and its pieces are awaited: the service itself runs none of them."""
        try:
            sweep_id, new = sweeps.register(asked)
        except (ValueError, HistoryError) as error:
            return error_answer(422, str(error))
        response.status_code = 202 if new else 200
        response.headers["location"] = f"/sweeps/{sweep_id}"
        sweep, folder = sweeps.find(sweep_id)
        return state_of(sweep, folder.parts)

    @app.put("/sweeps/{sweep_id}/parts/{index}", tags=["sweeps"], status_code=201, response_class=Response,
             responses=_PUT, openapi_extra=_BODY)  # fmt: skip
    async def put(request: Request, sweep_id: _SweepId, index: _Index) -> Response:
        """Hand a piece in, as Parquet. It is taken once, and whole."""
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > MOST_BYTES:
                return error_answer(413, f"the piece has more than {MOST_BYTES:,} bytes: nothing of it was taken")
        try:
            new = await run_in_threadpool(sweeps.put, sweep_id, index, bytes(content))
        except ValueError as error:
            return error_answer(422, str(error))
        except OSError as error:
            return error_answer(503, f"the piece cannot be kept: {error.strerror}", retryable=True)
        return Response(status_code=201 if new else 200)

    @app.delete("/sweeps/{sweep_id}", tags=["sweeps"], status_code=204, response_class=Response, responses=_DELETED)
    def deleted(sweep_id: _SweepId) -> Response:
        """Delete a sweep with all that was done of it. A piece that is handed in afterwards is refused."""
        try:
            sweeps.delete(sweep_id)
        except OSError as error:
            return error_answer(503, f"it cannot be deleted: {error.strerror}", retryable=True)
        return Response(status_code=204)


def _add_reading(app: FastAPI, sweeps: Sweeps) -> None:
    @app.get("/sweeps/{sweep_id}", tags=["sweeps"], responses=_NOT_FOUND)
    def state(sweep_id: _SweepId) -> SweepState:
        """A sweep, and which of its pieces are done."""
        sweep, folder = sweeps.find(sweep_id)
        return state_of(sweep, folder.parts)

    @app.get("/sweeps/{sweep_id}/parts/{index}", tags=["sweeps"], response_class=Response, responses=_PARQUET)
    def part(sweep_id: _SweepId, index: _Index) -> Response:
        """A piece that is done."""
        _, folder = sweeps.find(sweep_id)
        return Response(folder.parts.read(index), media_type=MEDIA_TYPE)

    @app.get("/sweeps/{sweep_id}/results.parquet", tags=["sweeps"], response_class=Response,
             responses={**_PARQUET, **_NOT_WHOLE})  # fmt: skip
    def results(sweep_id: _SweepId) -> Response:
        """All rows, once all pieces are done."""
        sweep, folder = sweeps.find(sweep_id)
        done = len(folder.parts.done())
        if done < sweep.indexes:
            message = f"{done} of {sweep.indexes} pieces are done: the rows are not whole yet"
            return error_answer(409, message, retryable=True)
        return FileResponse(folder.results(sweep), media_type=MEDIA_TYPE)


def _add_showing(app: FastAPI, sweeps: Sweeps) -> None:
    @app.get("/sweeps/{sweep_id}/top", tags=["sweeps"], responses=_NOT_FOUND)
    def top(
        sweep_id: _SweepId,
        count: Annotated[int | None, Query(ge=1, le=1000, description="How many; else as the sweep says.")] = None,
    ) -> Standing:
        """The best rows so far, and the heat map as numbers."""
        sweep, folder = sweeps.find(sweep_id)
        return standing_of(sweep, folder.parts, count)

    @app.get("/sweeps/{sweep_id}/heatmap.html", tags=["sweeps"], response_class=Response, responses=_SHOWN)
    def page(
        sweep_id: _SweepId,
        x: Annotated[str | None, Query(description="The parameter across; else the first that is swept.")] = None,
        y: Annotated[str | None, Query(description="The parameter upwards; else the next.")] = None,
        how: Annotated[How, Query(description="What stands for the values of all other parameters.")] = "best",
    ) -> Response:
        """The heat map so far, as a page that needs no network."""
        sweep, folder = sweeps.find(sweep_id)
        try:
            drawn = map_of(sweep, folder.parts, how, x, y)
        except ValueError as error:
            return error_answer(422, str(error))
        return HTMLResponse(heat_map_page(drawn, sweep))
