"""The SQL of the trading store, and how rows become records. No client library here.

Sets of rows go as arrays (unnest): one statement and one round trip for any number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from adapters.database.base import (
    Claimed,
    Effects,
    Loaded,
    OrderRow,
    OrderStatus,
    Position,
    Received,
    SignalRow,
)
from contracts.envelope import Event
from contracts.market import Side, Signal

Row = tuple[Any, ...]

CREATE_SCHEMA = "create schema if not exists trading"
CREATE_MIGRATIONS = """
create table if not exists trading.schema_migrations (
    name text primary key, sha256 text not null, applied_at timestamptz not null default now()
)"""
NOTE_MIGRATION = "insert into trading.schema_migrations (name, sha256) values (%s, %s)"

# `order by n` makes effect_no follow the order in which the events came.
CLAIM = """
insert into trading.processed_events (consumer_group, event_id, topic, key, sequence, payload_sha256)
select %(group)s, event_id, topic, key, sequence, digest
from unnest(%(ids)s::text[], %(topics)s::text[], %(keys)s::text[], %(sequences)s::bigint[], %(digests)s::bytea[])
    with ordinality as t (event_id, topic, key, sequence, digest, n)
order by n
on conflict do nothing
returning event_id"""

CLAIMED = """
select event_id, topic, key, sequence, payload_sha256, effect_no, processed_at
from trading.processed_events where consumer_group = %(group)s and event_id = any(%(ids)s::text[])
order by effect_no"""

LOAD = """
select s.key, s.state, p.symbol, p.quantity, p.average_price, p.realized_pnl
from trading.strategy_states s left join trading.positions p on p.strategy = s.strategy and p.key = s.key
where s.strategy = %(strategy)s and s.key = any(%(keys)s::text[])
order by s.key
for update of s"""
NEW_STATES = """
insert into trading.strategy_states (strategy, key)
select %(strategy)s, key from unnest(%(keys)s::text[]) as t (key) order by key
on conflict do nothing"""

_STATES = """
update trading.strategy_states s set symbol = t.symbol, last_price = t.price, state = t.state, updated_at = now()
from unnest(%(strategies)s::text[], %(keys)s::text[], %(symbols)s::text[], %(prices)s::numeric[], %(states)s::text[])
    as t (strategy, key, symbol, price, state)
where s.strategy = t.strategy and s.key = t.key"""
_POSITIONS = """
insert into trading.positions (strategy, key, symbol, quantity, average_price, realized_pnl)
select * from unnest(%(strategies)s::text[], %(keys)s::text[], %(symbols)s::text[], %(quantities)s::numeric[],
    %(averages)s::numeric[], %(pnls)s::numeric[])
on conflict (strategy, key) do update set symbol = excluded.symbol, quantity = excluded.quantity,
    average_price = excluded.average_price, realized_pnl = excluded.realized_pnl, updated_at = now()"""
_SIGNALS = """
insert into trading.signals (signal_id, strategy, key, symbol, side, price, bar_date, source_event_id)
select signal_id, strategy, key, symbol, side, price, bar_date, source
from unnest(%(ids)s::text[], %(strategies)s::text[], %(keys)s::text[], %(symbols)s::text[], %(sides)s::text[],
    %(prices)s::numeric[], %(dates)s::date[], %(sources)s::text[])
    with ordinality as t (signal_id, strategy, key, symbol, side, price, bar_date, source, n)
order by n"""
_ORDERS = """
insert into trading.orders (order_id, signal_id, strategy, key, symbol, side, quantity, source_event_id)
select order_id, signal_id, strategy, key, symbol, side, quantity, source
from unnest(%(ids)s::text[], %(signals)s::text[], %(strategies)s::text[], %(keys)s::text[], %(symbols)s::text[],
    %(sides)s::text[], %(quantities)s::numeric[], %(sources)s::text[])
    with ordinality as t (order_id, signal_id, strategy, key, symbol, side, quantity, source, n)
order by n"""
_FILLS = """
update trading.orders o set status = 'filled', fill_price = t.price, fill_event_id = t.event_id, filled_at = now()
from unnest(%(ids)s::text[], %(prices)s::numeric[], %(events)s::text[]) as t (order_id, price, event_id)
where o.order_id = t.order_id and o.status = 'open'"""
_OUTBOX = """
insert into trading.outbox (event_id, topic, key, type, source, time, content_type, schema_version, payload)
select event_id, topic, key, type, source, time, content_type, schema_version, payload
from unnest(%(ids)s::text[], %(topics)s::text[], %(keys)s::text[], %(types)s::text[], %(sources)s::text[],
    %(times)s::text[], %(contents)s::text[], %(versions)s::text[], %(payloads)s::bytea[])
    with ordinality as t (event_id, topic, key, type, source, time, content_type, schema_version, payload, n)
order by n"""

POSITIONS = """
select p.strategy, p.key, p.symbol, p.quantity, p.average_price, p.realized_pnl, s.last_price
from trading.positions p left join trading.strategy_states s on s.strategy = p.strategy and s.key = p.key
where p.key > %(after)s order by p.key, p.strategy limit %(limit)s"""
ORDERS = """
select number, order_id, signal_id, strategy, key, symbol, side, quantity, status, fill_price, source_event_id,
    created_at, filled_at
from trading.orders
where (%(key)s::text is null or key = %(key)s) and (%(before)s::bigint is null or number < %(before)s)
order by number desc limit %(limit)s"""
SIGNALS = """
select number, signal_id, strategy, key, symbol, side, price, bar_date, source_event_id, comment, created_at
from trading.signals
where (%(key)s::text is null or key = %(key)s) and (%(before)s::bigint is null or number < %(before)s)
order by number desc limit %(limit)s"""

SET_COMMENT = """
update trading.signals set comment = %(comment)s, commented_at = now()
where signal_id = %(id)s and comment is null"""
UNSENT = """
select event_id, topic, key, type, source, time, content_type, schema_version, payload
from trading.outbox where sent_at is null order by number limit %(limit)s"""
WAITING = "select count(*) from trading.outbox where sent_at is null"
MARK_SENT = "update trading.outbox set sent_at = now() where event_id = any(%(ids)s::text[]) and sent_at is null"
TAKE_LEASE = """
insert into trading.leases as l (name, holder, expires_at)
values (%(name)s, %(holder)s, clock_timestamp() + %(seconds)s)
on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
where l.holder = excluded.holder or l.expires_at <= clock_timestamp()"""
DROP_LEASE = "delete from trading.leases where name = %(name)s and holder = %(holder)s"
PURGE_OUTBOX = """
delete from trading.outbox where event_id in (
    select event_id from trading.outbox where sent_at < now() - %(age)s::interval order by sent_at limit %(limit)s)"""
PURGE_CLAIMS = """
delete from trading.processed_events where (consumer_group, event_id) in (
    select consumer_group, event_id from trading.processed_events where processed_at < now() - %(age)s::interval
    limit %(limit)s)"""


def claim_columns(received: Sequence[Received]) -> dict[str, list[Any]]:
    """The parameters of CLAIM, but for the group."""
    return {
        "ids": [item.event_id for item in received],
        "topics": [item.topic for item in received],
        "keys": [item.key for item in received],
        "sequences": [item.sequence for item in received],
        "digests": [item.payload_sha256 for item in received],
    }


def writes(effects: Effects) -> Iterator[tuple[str, Mapping[str, list[Any]], int]]:
    """The statements that write `effects`, each with its parameters and how many rows it must touch.

    Signals come before the orders that refer to them, orders before their fills.
    """
    yield _STATES, _columns(effects.states, _STATE_COLUMNS), len(effects.states)
    yield _POSITIONS, _columns(effects.positions, _POSITION_COLUMNS), len(effects.positions)
    yield _SIGNALS, _columns(effects.signals, _SIGNAL_COLUMNS), len(effects.signals)
    yield _ORDERS, _columns(effects.orders, _ORDER_COLUMNS), len(effects.orders)
    yield _FILLS, _columns(effects.fills, _FILL_COLUMNS), len(effects.fills)
    yield _OUTBOX, _columns(effects.outbox, _OUTBOX_COLUMNS), len(effects.outbox)


_STATE_COLUMNS = {
    "strategies": "strategy", "keys": "key", "symbols": "symbol", "prices": "last_price", "states": "state",
}  # fmt: skip
_POSITION_COLUMNS = {
    "strategies": "strategy", "keys": "key", "symbols": "symbol", "quantities": "quantity",
    "averages": "average_price", "pnls": "realized_pnl",
}  # fmt: skip
_SIGNAL_COLUMNS = {
    "ids": "signal_id", "strategies": "strategy", "keys": "key", "symbols": "symbol", "sides": "side",
    "prices": "price", "dates": "date", "sources": "source_event_id",
}  # fmt: skip
_ORDER_COLUMNS = {
    "ids": "order_id", "signals": "signal_id", "strategies": "strategy", "keys": "key", "symbols": "symbol",
    "sides": "side", "quantities": "quantity", "sources": "source_event_id",
}  # fmt: skip
_FILL_COLUMNS = {"ids": "order_id", "prices": "price", "events": "event_id"}
_OUTBOX_COLUMNS = {
    "ids": "id", "topics": "topic", "keys": "key", "types": "type", "sources": "source", "times": "time",
    "contents": "content_type", "versions": "schema_version", "payloads": "payload",
}  # fmt: skip


def _columns(rows: Sequence[object], names: Mapping[str, str]) -> dict[str, list[Any]]:
    return {column: [_plain(getattr(row, name)) for row in rows] for column, name in names.items()}


def _plain(value: object) -> object:
    if isinstance(value, Side):
        return value.value
    # repr of a float is the shortest text that reads back as it: numeric then holds what was sent.
    return Decimal(repr(value)) if isinstance(value, float) else value


def loaded(strategy: str, row: Row) -> Loaded:
    """A row of LOAD."""
    key, state, symbol, quantity, average, pnl = row
    if quantity is None:
        return Loaded(state, None)
    return Loaded(
        state,
        Position(strategy=strategy, key=key, symbol=symbol, quantity=quantity, average_price=average, realized_pnl=pnl),
    )


def position(row: Row) -> Position:
    """A row of POSITIONS."""
    strategy, key, symbol, quantity, average, pnl, last = row
    return Position(
        strategy=strategy,
        key=key,
        symbol=symbol,
        quantity=quantity,
        average_price=average,
        realized_pnl=pnl,
        last_price=last,
    )


def order_row(row: Row) -> OrderRow:
    """A row of ORDERS."""
    number, order_id, signal_id, strategy, key, symbol, side, quantity, status, price, source, created, filled = row
    return OrderRow(
        number=number,
        order_id=order_id,
        signal_id=signal_id,
        strategy=strategy,
        key=key,
        symbol=symbol,
        side=Side(side),
        quantity=quantity,
        status=OrderStatus(status),
        fill_price=price,
        source_event_id=source,
        created_at=created,
        filled_at=filled,
    )


def signal_row(row: Row) -> SignalRow:
    """A row of SIGNALS."""
    number, signal_id, strategy, key, symbol, side, price, day, source, comment, created = row
    signal = Signal(
        signal_id=signal_id,
        strategy=strategy,
        key=key,
        symbol=symbol,
        side=Side(side),
        price=float(price),
        date=day,
        source_event_id=source,
    )
    return SignalRow(number=number, signal=signal, comment=comment, created_at=created)


def outbox_event(row: Row) -> Event:
    """A row of UNSENT, as the event that goes out: with the id that it was given first."""
    event_id, topic, key, kind, source, time, content, version, payload = row
    return Event(
        topic=topic,
        key=key,
        payload=bytes(payload),
        id=event_id,
        source=source,
        time=time,
        type=kind,
        content_type=content,
        schema_version=version,
    )


def claimed(row: Row) -> Claimed:
    """A row of CLAIMED."""
    event_id, topic, key, sequence, digest, number, at = row
    received = Received(event_id=event_id, topic=topic, key=key, sequence=sequence, payload_sha256=bytes(digest))
    return Claimed(received=received, number=number, at=at)
