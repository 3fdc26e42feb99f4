"""The part of the HTTP API that is about histories: what there is, sending one, and fetching one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from adapters.backtesting.histories import HistoryError, Options, plain_parquet
from contracts.histories import SYMBOL_PATTERN, History
from contracts.names import ENV_BACKTESTING_BARS_MIB, ENV_DATA_PATH
from services.backtesting_service.errors import REFUSED, ErrorModel, error_answer
from services.backtesting_service.histories import Histories
from services.backtesting_service.imports import Busy, Imports, TooLarge
from services.backtesting_service.runs import InUse
from services.backtesting_service.work import bars_of

_PARQUET = "application/vnd.apache.parquet"
_Symbol = Annotated[str, Path(pattern=SYMBOL_PATTERN, description="The symbol.")]
_SENT: dict[int | str, dict[str, Any]] = {
    200: {"model": History, "description": "It stands in place of the history that there was."},
    201: {"description": "It is kept."},
    409: {"model": ErrorModel, "description": f"The service keeps no histories: {ENV_DATA_PATH} is not set."},
    503: {"model": ErrorModel, "description": "Others are being taken, or the volume is full."},
    413: {"model": ErrorModel, "description": f"The file is too large; see {ENV_BACKTESTING_BARS_MIB}."},
    422: {**REFUSED[422], "description": "It cannot be used: rows and reasons. Nothing was changed."},
}
_FETCHED: dict[int | str, dict[str, Any]] = {
    200: {"content": {_PARQUET: {}}, "description": "The file."},
    404: {"model": ErrorModel, "description": "There is no such history."},
    409: {"model": ErrorModel, "description": "It is not whole any more."},
}
_DELETED: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorModel, "description": "There is no such history."},
    409: {"model": ErrorModel, "description": "A run that waits or runs uses it, or it is a file of the service."},
    503: {"model": ErrorModel, "description": "A history is being taken."},
}
_FILE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"requestBody": {"required": True, "content": {"text/csv": _FILE, "application/gzip": _FILE, _PARQUET: _FILE}}}


class HistoryPage(BaseModel):
    """Every history that there is."""

    items: list[History]


def add_bars(
    app: FastAPI,
    histories: Histories,
    imports: Imports | None,
    unused: Callable[[str], AbstractContextManager[object]],
) -> None:
    """Add the routes to `app`. `imports`: who keeps what is sent; None where nothing can be kept. `unused`: held while
    the bars of a symbol go; raises InUse."""
    _add_reading(app, histories)
    _add_keeping(app, imports)
    _add_deleting(app, histories, imports, unused)


def _add_deleting(
    app: FastAPI,
    histories: Histories,
    imports: Imports | None,
    unused: Callable[[str], AbstractContextManager[object]],
) -> None:
    @app.delete("/bars/{symbol}", tags=["bars"], status_code=204, response_class=Response, responses=_DELETED)
    def deleted(symbol: _Symbol) -> Response:
        """Delete the history of a symbol. Results of runs on it stay."""
        try:
            if imports is not None and imports.delete(symbol, unused(symbol)):
                return Response(status_code=204)
        except InUse as error:
            return error_answer(409, str(error))
        except Busy as error:
            return error_answer(503, str(error), retryable=True)
        except OSError as error:
            return error_answer(503, f"it cannot be deleted: {error.strerror}", retryable=True)
        file = histories.file(symbol)
        if file is None:
            return error_answer(404, f"there is no history of {symbol}")
        return error_answer(
            409,
            f"{symbol} cannot be deleted: it is shipped with the service, or BACKTESTING_CSV names it ({file.name})",
        )


def _add_keeping(app: FastAPI, imports: Imports | None) -> None:
    @app.put(
        "/bars/{symbol}", tags=["bars"], status_code=201, response_model=History, responses=_SENT, openapi_extra=_BODY
    )
    async def sent(
        request: Request,
        response: Response,
        symbol: _Symbol,
        timezone: Annotated[str | None, Query(description="Of the file's clock: America/New_York.")] = None,
        max_gap: Annotated[
            str | None, Query(description="For how long there may be no bars: 90m, 2h, 14d, any.")
        ] = None,
        splits: Annotated[str | None, Query(description="date:ratio, by commas: 2020-08-31:4.")] = None,
        jumps: Annotated[str | None, Query(description="`allowed`: prices truly jumped as in a split.")] = None,
    ) -> History | JSONResponse:
        """Keep a file of bars, CSV, .gz of it or Parquet, as the history of a symbol, in place of what there was."""
        if imports is None:
            return error_answer(409, f"no history can be kept here: {ENV_DATA_PATH} is not set. Set it to a folder")
        try:
            options = Options.parsed(timezone=timezone, max_gap=max_gap, splits=splits, jumps=jumps)
            announced = int(request.headers.get("content-length", "0"))
            made, new = await imports.take(request.stream(), announced, symbol, options)
        except TooLarge as error:
            return error_answer(413, str(error))
        except Busy as error:
            return error_answer(503, str(error), retryable=True)
        except OSError as error:
            return error_answer(503, f"it cannot be kept: {error.strerror}. Nothing was changed", retryable=True)
        except HistoryError as error:
            return error_answer(422, str(error))
        response.status_code = 201 if new else 200
        return made


def _add_reading(app: FastAPI, histories: Histories) -> None:
    one_at_a_time = Lock()
    """A large history takes half a GB while it is written."""

    @app.get("/bars", tags=["bars"])
    def known() -> HistoryPage:
        """What can be tested on."""
        return HistoryPage(items=histories.all())

    @app.get("/bars/{symbol}.parquet", tags=["bars"], response_class=Response, responses=_FETCHED)
    def fetched(symbol: _Symbol) -> Response:
        """The bars of a symbol as Parquet, with plain columns: a date, or when each opened, prices, and volume."""
        source = histories.find(symbol)
        if source is None:
            return error_answer(404, f"there is no history of {symbol}")
        try:
            with one_at_a_time:
                bars = bars_of(symbol, source.path, source.sha256)
                content = plain_parquet(bars, {"symbol": symbol, "sha256": source.sha256})
        except (HistoryError, ValueError) as error:
            return error_answer(409, str(error))
        return Response(content, media_type=_PARQUET)
