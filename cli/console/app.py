"""The console over HTTP: the page, the picture that it asks for each second, and, only where it may act, the routes for
that."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from cli.console.acts import Act, Begun, Desk, Unfit
from cli.console.guard import Guard
from cli.console.page import Shape, lost_text, page, sections
from cli.console.reader import Reader
from cli.console.runner import MOST_BYTES
from cli.console.tokens import Denied, Door
from cli.report.style import STYLE
from contracts.stages import Component

_HERE = Path(__file__).parent
SCRIPT = (_HERE / "console.js").read_text(encoding="utf-8")
CSS = STYLE + (_HERE / "console.css").read_text(encoding="utf-8")


class Asked(BaseModel):
    """What is to be done with which component."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    component: Component
    act: Act


class Confirmed(Asked):
    """The same, once its steps were `seen` (their digest), and the component's name was `typed`."""

    typed: str = Field(max_length=100)
    seen: str = Field(max_length=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What is served, and to whom. `hosts`: the names it may be asked by; `closed`: nothing is shown without a token;
    `door`, `desk`: None where there are no tokens, or nothing can be done."""

    hosts: Collection[str]
    door: Door | None = None
    desk: Desk | None = None
    closed: bool = False


Owner = Callable[[Request], str]


def create(reader: Reader, offer: Offer) -> Guard:
    """The app."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    shape = Shape(acts=offer.desk is not None, closed=offer.closed)
    _add_errors(app)
    _add_page(app, reader, shape, _asks(offer.door) if offer.closed else _anybody)
    if offer.door is not None:
        _add_token(app, _asks(offer.door))
        if offer.desk is not None:
            _add_acts(app, offer.desk, _asks(offer.door))
    return Guard(app, offer.hosts)


def _anybody(request: Request) -> str:
    del request
    return ""


def _asks(door: Door | None) -> Owner:
    """Asks for a token; whose it is."""

    def owner(request: Request) -> str:
        if door is None:
            raise HTTPException(401, "there are no tokens")
        address = request.client.host if request.client is not None else ""
        try:
            return door.admit(address, request.headers.get("authorization", ""))
        except Denied as denied:
            if denied.wait is not None:
                raise HTTPException(429, str(denied), {"Retry-After": f"{denied.wait:.0f}"}) from None
            raise HTTPException(401, str(denied), {"WWW-Authenticate": "Bearer"}) from None

    return owner


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(StarletteHTTPException)
    def told(request: Request, error: StarletteHTTPException) -> Response:
        del request
        return JSONResponse({"problem": str(error.detail)}, error.status_code, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    def unfit(request: Request, error: RequestValidationError) -> Response:
        del request
        where = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        return JSONResponse({"problem": f"that cannot be meant: {where}"}, 422)


def _add_page(app: FastAPI, reader: Reader, shape: Shape, owner: Owner) -> None:
    @app.get("/")
    def whole() -> Response:
        return HTMLResponse(page(reader.picture, shape))

    @app.get("/console.js")
    def script() -> Response:
        return Response(SCRIPT, media_type="text/javascript; charset=utf-8")

    @app.get("/console.css")
    def style() -> Response:
        return Response(CSS, media_type="text/css; charset=utf-8")

    @app.get("/api/picture", dependencies=[Depends(owner)])
    def picture() -> Response:
        found = reader.picture
        told = {
            "as_of": f"as of {found.at[:19].replace('T', ' ')} UTC",
            "age": reader.age,
            "lost": lost_text(found),
            "sections": sections(found, shape),
        }
        return JSONResponse(told)


def _add_token(app: FastAPI, owner: Owner) -> None:
    @app.post("/api/token")
    def known(name: str = Depends(owner)) -> Response:
        return JSONResponse({"owner": name})


def _add_acts(app: FastAPI, desk: Desk, owner: Owner) -> None:
    @app.post("/api/preview", dependencies=[Depends(owner)])
    def preview(asked: Asked) -> Response:
        try:
            found = desk.preview(asked.component, asked.act)
        except Unfit as error:
            raise HTTPException(409, str(error)) from None
        return JSONResponse({"command": found.command, "steps": found.steps, "digest": found.digest})

    @app.post("/api/acts")
    def begin(asked: Confirmed, name: str = Depends(owner)) -> Response:
        try:
            begun = desk.begin(asked.component, asked.act, typed=asked.typed, seen=asked.seen, owner=name)
        except Unfit as error:
            raise HTTPException(409 if error.busy else 422, str(error)) from None
        return JSONResponse(_told(begun), 202)

    @app.get("/api/acts", dependencies=[Depends(owner)])
    def follow(since: int = 0) -> Response:
        if desk.last is None:
            raise HTTPException(404, "nothing was begun by this console")
        if since < 0:
            raise HTTPException(422, "that cannot be meant: since")
        code = desk.last.running.code()  # before the output: what it wrote last is in it then
        written = desk.last.running.output(since)
        # A character that is cut in two comes whole the next time.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(written, final=code is not None and len(written) < MOST_BYTES)
        used = len(written) - len(decoder.getstate()[0])
        more = len(written) == MOST_BYTES
        return JSONResponse({**_told(desk.last), "output": text, "next": since + used, "code": code, "more": more})


def _told(begun: Begun) -> dict[str, str]:
    return {"component": begun.component.value, "act": begun.act.value, "actor": begun.actor, "at": begun.at}
