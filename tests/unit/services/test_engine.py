"""What bars lead to: signals, orders, fills, positions; each event once, whatever the bus repeats."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.backtesting.strategies import SmaCross
from adapters.backtesting.strategies.live import Memory
from adapters.database.base import OrderStatus
from adapters.database.memory import MemoryTradingStore
from adapters.event_bus import RejectEvent, RetryableError
from contracts.envelope import Event, new_event_id
from contracts.market import BAR_TYPE, Bar, Side, Signal, encode_tick
from contracts.names import MARKET_DATA, TRADING_SIGNALS
from services.trading_engine.consumer import BatchHandler
from services.trading_engine.engine import Engine, Waiting, dump_state, load_state

GROUP = "trading-engine"
UP_AND_DOWN = (10.0, 9.0, 8.0, 12.0, 14.0, 15.0, 9.0, 7.0, 6.0)
"""With averages of 1 and 3: a buy after the fourth bar, a sale after the seventh."""


def event(key: str, sequence: int, close: float, opening: float | None = None) -> Event:
    opening = close if opening is None else opening
    day = date(2020, 1, 1) + timedelta(days=sequence)
    bar = Bar(date=day, open=opening, high=max(opening, close), low=min(opening, close), close=close, volume=1.0)
    return Event.create(MARKET_DATA, key, encode_tick(key, sequence, bar), source="test", type=BAR_TYPE)


def events(key: str = "X", closes: Sequence[float] = UP_AND_DOWN) -> list[Event]:
    return [event(key, number, close, close + 0.5) for number, close in enumerate(closes)]


class World:
    def __init__(self, notional: int = 100) -> None:
        self.store = MemoryTradingStore()
        self.made: list[Signal] = []
        counter = itertools.count(1)
        engine = Engine(SmaCross(1, 3), Decimal(notional), lambda: f"id-{next(counter)}")
        self.handle = BatchHandler(self.store, engine, GROUP, self.made.extend)

    def facts(self) -> object:
        """What came of it, but for ids and times."""
        orders = [(o.key, o.side, o.quantity, o.status, o.fill_price) for o in self.store.orders(limit=1000)]
        signals = [(s.signal.key, s.signal.side, s.signal.price, s.signal.date) for s in self.store.signals(limit=1000)]
        return self.store.positions(), orders, signals, self.store.waiting()


def test_a_crossover_becomes_a_signal_and_an_order_filled_at_the_next_open() -> None:
    world = World()
    batch = events()
    world.handle(batch[:4])
    (order,) = world.store.orders()
    assert (order.side, order.quantity, order.status, order.fill_price) == (
        Side.BUY,
        Decimal(8),
        OrderStatus.OPEN,
        None,
    )
    assert world.store.positions() == []
    (signal,) = world.made
    assert (signal.price, signal.source_event_id) == (12.0, batch[3].id)

    world.handle(batch[4:])
    assert [(o.side, o.quantity, o.fill_price) for o in world.store.orders()] == [
        (Side.SELL, Decimal(8), Decimal("7.5")),
        (Side.BUY, Decimal(8), Decimal("14.5")),
    ]
    (position,) = world.store.positions()
    assert (position.quantity, position.realized_pnl) == (Decimal(0), Decimal(-56))
    assert position.last_price == Decimal("6.0")


def test_each_signal_is_announced_under_its_own_id() -> None:
    world = World()
    world.handle(events())
    announced = world.store.unsent(10)
    assert [e.id for e in announced] == [s.signal_id for s in world.made]
    assert {(e.topic, e.key) for e in announced} == {(TRADING_SIGNALS, "X")}


def test_events_delivered_again_have_no_effect() -> None:
    world, once = World(), World()
    batch = events()
    once.handle(batch)
    world.handle(batch[:5])
    world.handle(batch[3:])  # a batch that was not acknowledged comes again, with what followed
    world.handle([*batch, *batch])
    assert world.facts() == once.facts()


@given(
    cuts=st.lists(st.integers(0, len(UP_AND_DOWN) * 2), max_size=6), repeats=st.lists(st.integers(0, 17), max_size=4)
)
def test_how_events_are_batched_and_repeated_changes_nothing(cuts: list[int], repeats: list[int]) -> None:
    stream = [e for pair in zip(events("X"), events("Y", UP_AND_DOWN[::-1]), strict=True) for e in pair]
    whole, cut = World(), World()
    whole.handle(stream)
    edges = [0, *sorted(cuts), len(stream)]
    for begin, end in itertools.pairwise(edges):
        batch = stream[begin:end]
        cut.handle([*(stream[r] for r in repeats if r < begin), *batch, *batch])
    assert cut.facts() == whole.facts()


def test_nothing_takes_effect_where_the_transaction_fails() -> None:
    world = World()
    batch = events()
    world.store.outage = "the database is away"
    with pytest.raises(RetryableError, match="waits for the database"):
        world.handle(batch)
    world.store.outage = None
    assert world.facts() == World().facts()
    assert world.made == []
    world.handle(batch)
    assert len(world.made) == 2


def test_an_event_that_is_no_bar_is_rejected_by_its_id_and_touches_nothing() -> None:
    world = World()
    good = events()
    poison = good[2]._replace(id=new_event_id(), payload=b'{"symbol":"X","close":-1}')
    with pytest.raises(RejectEvent) as rejected:
        world.handle([*good[:2], poison, *good[2:]])
    assert rejected.value.event_id == poison.id
    assert world.facts() == World().facts()


def test_a_price_above_the_notional_gives_a_signal_but_no_order() -> None:
    world = World(notional=11)
    world.handle(events()[:5])
    assert [s.side for s in world.made] == [Side.BUY]
    assert world.store.orders() == []


def test_the_memory_of_a_key_survives_its_json() -> None:
    memory = Memory((1.1, 2.2, 3.3), above=False)
    waiting = Waiting("order", Side.SELL, Decimal("3"))
    assert load_state(dump_state(memory, waiting)) == (memory, waiting)
    assert load_state(dump_state(Memory(), None)) == (Memory(), None)
