"""The shipped fake: a trading store in memory, with real transactions (all or nothing)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import override

from adapters.database.base import (
    Claimed,
    Effects,
    Fill,
    Loaded,
    NewOrder,
    OrderRow,
    OrderStatus,
    Position,
    Received,
    SignalRow,
    StrategyState,
    TradingStore,
    TradingTx,
)
from adapters.database.errors import DatabaseUnavailable, InvalidRequest
from contracts.envelope import Event
from contracts.market import Signal


@dataclass(slots=True)
class _Outgoing:
    event: Event
    created: datetime
    sent: datetime | None = None


class _Tables:
    def __init__(self) -> None:
        self.processed: dict[tuple[str, str], tuple[Received, datetime]] = {}
        self.states: dict[tuple[str, str], StrategyState] = {}
        self.positions: dict[tuple[str, str], Position] = {}
        self.orders: dict[str, OrderRow] = {}
        self.signals: dict[str, SignalRow] = {}
        self.outbox: dict[str, _Outgoing] = {}
        self.leases: dict[str, tuple[str, float]] = {}


class _MemoryTx(TradingTx):
    """Writes at once and keeps how to undo it: the store's lock keeps others out."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables
        self._undo: list[Callable[[], object]] = []

    def undo(self) -> None:
        for step in reversed(self._undo):
            step()

    def _put[K, V](self, table: dict[K, V], key: K, value: V) -> None:
        if key in table:
            before = table[key]
            self._undo.append(lambda: table.__setitem__(key, before))
        else:
            self._undo.append(lambda: table.pop(key))
        table[key] = value

    @override
    def claim(self, group: str, received: Sequence[Received]) -> frozenset[str]:
        new = set()
        for item in received:
            if (group, item.event_id) not in self._tables.processed:
                self._put(self._tables.processed, (group, item.event_id), (item, datetime.now(UTC)))
                new.add(item.event_id)
        return frozenset(new)

    @override
    def load(self, strategy: str, keys: Sequence[str]) -> Mapping[str, Loaded]:
        found = {}
        for key in keys:
            state = self._tables.states.get((strategy, key))
            if state is not None:
                found[key] = Loaded(state.state, self._tables.positions.get((strategy, key)))
        return found

    @override
    def write(self, effects: Effects) -> None:
        for state in effects.states:
            self._put(self._tables.states, (state.strategy, state.key), state)
        for position in effects.positions:
            self._put(self._tables.positions, (position.strategy, position.key), replace(position, last_price=None))
        for signal in effects.signals:
            self._add_signal(signal)
        for order in effects.orders:
            self._add_order(order)
        for fill in effects.fills:
            self._fill(fill)
        for event in effects.outbox:
            if event.id in self._tables.outbox:
                raise InvalidRequest(f"outbox event {event.id} exists already")
            self._put(self._tables.outbox, event.id, _Outgoing(event, datetime.now(UTC)))

    def _add_signal(self, signal: Signal) -> None:
        for row in self._tables.signals.values():
            same_source = (row.signal.strategy, row.signal.source_event_id) == (signal.strategy, signal.source_event_id)
            if row.signal.signal_id == signal.signal_id or same_source:
                raise InvalidRequest(f"signal {signal.signal_id} of event {signal.source_event_id} exists already")
        row = SignalRow(number=len(self._tables.signals) + 1, signal=signal, comment=None, created_at=datetime.now(UTC))
        self._put(self._tables.signals, signal.signal_id, row)

    def _add_order(self, order: NewOrder) -> None:
        if order.order_id in self._tables.orders or order.signal_id not in self._tables.signals:
            raise InvalidRequest(f"order {order.order_id} exists already, or its signal {order.signal_id} does not")
        row = OrderRow(
            number=len(self._tables.orders) + 1,
            order_id=order.order_id,
            signal_id=order.signal_id,
            strategy=order.strategy,
            key=order.key,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            status=OrderStatus.OPEN,
            fill_price=None,
            source_event_id=order.source_event_id,
            created_at=datetime.now(UTC),
            filled_at=None,
        )
        self._put(self._tables.orders, order.order_id, row)

    def _fill(self, fill: Fill) -> None:
        row = self._tables.orders.get(fill.order_id)
        if row is None or row.status is not OrderStatus.OPEN:
            raise InvalidRequest(f"order {fill.order_id} is not open: it cannot be filled")
        filled = replace(row, status=OrderStatus.FILLED, fill_price=fill.price, filled_at=datetime.now(UTC))
        self._put(self._tables.orders, fill.order_id, filled)


class MemoryTradingStore(TradingStore):
    """Keeps everything in this process. `outage` makes every call fail, for tests of callers."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._lock = threading.RLock()
        self.outage: str | None = None

    def _check(self) -> None:
        if self.outage is not None:
            raise DatabaseUnavailable(self.outage)

    @override
    def migrate(self) -> Sequence[str]:
        self._check()
        return ()

    @override
    def run[T](self, work: Callable[[TradingTx], T]) -> T:
        with self._lock:
            self._check()
            tx = _MemoryTx(self._tables)
            try:
                return work(tx)
            except BaseException:
                tx.undo()
                raise

    @override
    def claimed(self, group: str, event_ids: Sequence[str]) -> Sequence[Claimed]:
        wanted = {(group, event_id) for event_id in event_ids}
        with self._lock:
            processed = list(self._tables.processed.items())
        return [
            Claimed(received=received, number=number, at=at)
            for number, (claim, (received, at)) in enumerate(processed, 1)
            if claim in wanted
        ]

    @override
    def positions(self, *, after: str = "", limit: int = 100) -> Sequence[Position]:
        with self._lock:
            self._check()
            rows = sorted(self._tables.positions.items(), key=lambda item: (item[0][1], item[0][0]))
            return [
                replace(row, last_price=self._tables.states[place].last_price if place in self._tables.states else None)
                for place, row in rows
                if place[1] > after
            ][:limit]

    @override
    def orders(self, *, key: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[OrderRow]:
        with self._lock:
            self._check()
            rows = sorted(self._tables.orders.values(), key=lambda row: -row.number)
            return [r for r in rows if key in (None, r.key) and (before is None or r.number < before)][:limit]

    @override
    def signals(self, *, key: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[SignalRow]:
        with self._lock:
            self._check()
            rows = sorted(self._tables.signals.values(), key=lambda row: -row.number)
            return [r for r in rows if key in (None, r.signal.key) and (before is None or r.number < before)][:limit]

    @override
    def set_comment(self, signal_id: str, comment: str) -> bool:
        with self._lock:
            self._check()
            row = self._tables.signals.get(signal_id)
            if row is None or row.comment is not None:
                return False
            self._tables.signals[signal_id] = replace(row, comment=comment)
            return True

    @override
    def unsent(self, limit: int) -> Sequence[Event]:
        with self._lock:
            self._check()
            return [item.event for item in self._tables.outbox.values() if item.sent is None][:limit]

    @override
    def waiting(self) -> int:
        return len(self.unsent(len(self._tables.outbox)))

    @override
    def mark_sent(self, event_ids: Sequence[str]) -> int:
        with self._lock:
            self._check()
            marked = 0
            for event_id in event_ids:
                item = self._tables.outbox.get(event_id)
                if item is not None and item.sent is None:
                    item.sent = datetime.now(UTC)
                    marked += 1
            return marked

    @override
    def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        with self._lock:
            self._check()
            now = time.monotonic()
            other, until = self._tables.leases.get(name, (holder, now))
            if other != holder and until > now:
                return False
            self._tables.leases[name] = (holder, now + seconds)
            return True

    @override
    def drop_lease(self, name: str, holder: str) -> None:
        with self._lock:
            self._check()
            if self._tables.leases.get(name, ("", 0.0))[0] == holder:
                del self._tables.leases[name]

    @override
    def purge(self, older_than: timedelta, limit: int = 10_000) -> int:
        with self._lock:
            self._check()
            limit_time = datetime.now(UTC) - older_than
            outbox = self._tables.outbox
            sent = [k for k, item in outbox.items() if item.sent is not None and item.sent < limit_time][:limit]
            claims = [k for k, (_, at) in self._tables.processed.items() if at < limit_time][:limit]
            for event_id in sent:
                del outbox[event_id]
            for place in claims:
                del self._tables.processed[place]
            return len(sent) + len(claims)

    @override
    def ping(self) -> None:
        self._check()

    @override
    def close(self) -> None:
        """Nothing to give up."""
