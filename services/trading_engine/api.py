"""The trading engine's HTTP API: what is held, ordered and signalled."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from adapters.database import TradingStore
from adapters.database.base import OrderStatus
from adapters.database.errors import DatabaseError
from contracts.market import Side
from contracts.names import TRADING_ENGINE_NAME
from services.common.web import Health, Lifecycle, create_app

_DESCRIPTION = "Positions, orders and signals of the trading engine. Amounts are decimal numbers in strings."


class _Model(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class PositionModel(_Model):
    """What is held of one key. `unrealized_pnl` is at the last close; null before the first."""

    strategy: str
    key: str
    symbol: str
    quantity: Decimal
    average_price: Decimal
    last_price: Decimal | None
    realized_pnl: Decimal
    unrealized_pnl: Decimal | None


class OrderModel(_Model):
    """An order. It is filled by the next bar of its key, at that bar's open."""

    number: int
    order_id: str
    signal_id: str
    strategy: str
    key: str
    symbol: str
    side: Side
    quantity: Decimal
    status: OrderStatus
    fill_price: Decimal | None
    source_event_id: str
    created_at: datetime
    filled_at: datetime | None


class SignalModel(_Model):
    """A signal. `comment` is null until a model has commented on it, and may stay so."""

    number: int
    signal_id: str
    strategy: str
    key: str
    symbol: str
    side: Side
    price: float
    date: date
    source_event_id: str
    comment: str | None
    created_at: datetime


class PositionPage(BaseModel):
    """Positions by key. Give `next` as `after` for the following page; null at the end."""

    items: list[PositionModel]
    next: str | None


class OrderPage(BaseModel):
    """Orders, newest first. Give `next` as `before` for the following page; null at the end."""

    items: list[OrderModel]
    next: int | None


class SignalPage(BaseModel):
    """Signals, newest first. Give `next` as `before` for the following page; null at the end."""

    items: list[SignalModel]
    next: int | None


class ErrorModel(BaseModel):
    """What went wrong, and whether to try again."""

    error: str
    retryable: bool


Limit = Annotated[int, Query(ge=1, le=1000, description="The most items in the page.")]
_MOST_NUMBER = 2**63 - 1
"""Of an item: the largest bigint. The database would refuse more, which would look as if it were away."""
_TEXT = r"^[^\x00]*$"
"""What a database can hold as text."""
Before = Annotated[int | None, Query(ge=1, le=_MOST_NUMBER, description="Only items with a number below this one.")]
After = Annotated[str, Query(pattern=_TEXT, description="Only keys after this one.")]
Key = Annotated[str | None, Query(pattern=_TEXT, description="Only items of this key.")]
_UNAVAILABLE: dict[int | str, dict[str, Any]] = {503: {"model": ErrorModel, "description": "The database is away."}}


def create_api(store: TradingStore, health: Health, lifecycle: Lifecycle | None = None) -> FastAPI:
    """The app of the trading engine over `store`."""
    app = create_app(TRADING_ENGINE_NAME, "Trading engine", _DESCRIPTION, health=health, lifecycle=lifecycle)

    @app.exception_handler(DatabaseError)
    def unavailable(request: Request, error: DatabaseError) -> JSONResponse:
        del request
        return JSONResponse(ErrorModel(error=str(error), retryable=True).model_dump(), status_code=503)

    @app.get("/positions", tags=["trading"], responses=_UNAVAILABLE)
    def positions(limit: Limit = 100, after: After = "") -> PositionPage:
        """What is held, by key."""
        rows = store.positions(after=after, limit=limit)
        items = []
        for row in rows:
            gain = None if row.last_price is None else (row.last_price - row.average_price) * row.quantity
            fields = {name: getattr(row, name) for name in PositionModel.model_fields if name != "unrealized_pnl"}
            items.append(PositionModel(**fields, unrealized_pnl=gain))
        return PositionPage(items=items, next=rows[-1].key if len(rows) == limit else None)

    @app.get("/orders", tags=["trading"], responses=_UNAVAILABLE)
    def orders(limit: Limit = 100, before: Before = None, key: Key = None) -> OrderPage:
        """Orders, newest first."""
        rows = store.orders(key=key, before=before, limit=limit)
        items = [OrderModel.model_validate(row) for row in rows]
        return OrderPage(items=items, next=rows[-1].number if len(rows) == limit else None)

    @app.get("/signals", tags=["trading"], responses=_UNAVAILABLE)
    def signals(limit: Limit = 100, before: Before = None, key: Key = None) -> SignalPage:
        """Signals, newest first."""
        rows = store.signals(key=key, before=before, limit=limit)
        items = [
            SignalModel(
                number=row.number,
                comment=row.comment,
                created_at=row.created_at,
                **{name: getattr(row.signal, name) for name in _SIGNAL_FIELDS},
            )
            for row in rows
        ]
        return SignalPage(items=items, next=rows[-1].number if len(rows) == limit else None)

    return app


_SIGNAL_FIELDS = ("signal_id", "strategy", "key", "symbol", "side", "price", "date", "source_event_id")
