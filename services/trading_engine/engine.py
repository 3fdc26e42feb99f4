"""What a batch of bars leads to: pure, the same for the same memory and bars.

A bar of a key first fills the order that waits for it, at its open; then the strategy sees its
close, and what it wants becomes a signal and an order, to be filled by the next bar. So nothing
is ever bought at a price that was known only after the decision's own bar had ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from adapters.backtesting.strategies.averages import SmaCross
from adapters.backtesting.strategies.live import Memory, step
from adapters.database.base import Effects, Fill, Loaded, NewOrder, Position, StrategyState
from contracts.envelope import Event
from contracts.market import SIGNAL_TYPE, Side, Signal, Tick, encode_signal
from contracts.names import TRADING_ENGINE_NAME, TRADING_SIGNALS

SOURCE = f"crossover/{TRADING_ENGINE_NAME}"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A bar with the id and the key of the event that brought it."""

    event_id: str
    key: str
    tick: Tick


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order that waits for the next bar of its key."""

    order_id: str
    side: Side
    quantity: Decimal


@dataclass(slots=True)
class _Key:
    """A key while a batch is decided."""

    memory: Memory
    waiting: Waiting | None
    position: Position
    last: Tick
    moved: bool = False


@dataclass(slots=True)
class _Made:
    """What a batch has made so far."""

    orders: list[NewOrder] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    outbox: list[Event] = field(default_factory=list)


def exact(price: float) -> Decimal:
    """`price` as the shortest decimal that reads back as it: what the feed sent, not its binary tail."""
    return Decimal(repr(price))


def dump_state(memory: Memory, waiting: Waiting | None) -> str:
    """The JSON that `load_state` reads."""
    state: dict[str, object] = {"closes": memory.closes, "above": memory.above}
    if waiting is not None:
        state["waiting"] = {
            "order_id": waiting.order_id,
            "side": waiting.side.value,
            "quantity": str(waiting.quantity),
        }
    return json.dumps(state, separators=(",", ":"))


def load_state(text: str) -> tuple[Memory, Waiting | None]:
    """What `dump_state` wrote."""
    state = json.loads(text)
    waiting = state.get("waiting")
    order = Waiting(waiting["order_id"], Side(waiting["side"]), Decimal(waiting["quantity"])) if waiting else None
    return Memory(tuple(state["closes"]), state["above"]), order


@dataclass(frozen=True, slots=True)
class Engine:
    """`notional` is what a position may cost at its signal's price. `new_id` makes ids of events."""

    strategy: SmaCross
    notional: Decimal
    new_id: Callable[[], str]

    def decide(self, known: Mapping[str, Loaded], bars: Sequence[Incoming]) -> Effects:
        """The effects of `bars`, in their order, on what is `known` of their keys."""
        keys: dict[str, _Key] = {}
        made = _Made()
        for bar in bars:
            key = keys.get(bar.key)
            if key is None:
                key = keys[bar.key] = self._recall(known.get(bar.key), bar)
            key.last = bar.tick
            self._fill(key, bar, made)
            key.memory, side = step(self.strategy, key.memory, bar.tick.bar.close)
            if side is not None:
                self._act(key, side, bar, made)
        return Effects(
            states=[self._state(name, key) for name, key in keys.items()],
            positions=[key.position for key in keys.values() if key.moved],
            orders=made.orders,
            fills=made.fills,
            signals=made.signals,
            outbox=made.outbox,
        )

    def _recall(self, known: Loaded | None, bar: Incoming) -> _Key:
        memory, waiting = load_state(known.state) if known else (Memory(), None)
        position = known.position if known else None
        if position is None:
            zero = Decimal(0)
            position = Position(
                strategy=self.strategy.name,
                key=bar.key,
                symbol=bar.tick.symbol,
                quantity=zero,
                average_price=zero,
                realized_pnl=zero,
            )
        return _Key(memory, waiting, position, bar.tick)

    def _fill(self, key: _Key, bar: Incoming, made: _Made) -> None:
        order = key.waiting
        if order is None:
            return
        price, held = exact(bar.tick.bar.open), key.position
        made.fills.append(Fill(order_id=order.order_id, price=price, event_id=bar.event_id))
        if order.side is Side.BUY:
            key.position = replace(held, quantity=order.quantity, average_price=price)
        else:
            gain = (price - held.average_price) * order.quantity
            key.position = replace(
                held, quantity=Decimal(0), average_price=Decimal(0), realized_pnl=held.realized_pnl + gain
            )
        key.waiting, key.moved = None, True

    def _act(self, key: _Key, side: Side, bar: Incoming, made: _Made) -> None:
        signal = Signal(
            signal_id=self.new_id(),
            strategy=self.strategy.name,
            key=bar.key,
            symbol=bar.tick.symbol,
            side=side,
            price=bar.tick.bar.close,
            date=bar.tick.bar.date,
            source_event_id=bar.event_id,
        )
        made.signals.append(signal)
        made.outbox.append(announcement(signal))
        quantity = self._quantity(key.position, side, exact(signal.price))
        if quantity > 0:
            key.waiting = Waiting(self.new_id(), side, quantity)
            made.orders.append(
                NewOrder(
                    order_id=key.waiting.order_id,
                    signal_id=signal.signal_id,
                    strategy=signal.strategy,
                    key=signal.key,
                    symbol=signal.symbol,
                    side=side,
                    quantity=quantity,
                    source_event_id=bar.event_id,
                )
            )

    def _quantity(self, position: Position, side: Side, price: Decimal) -> Decimal:
        """Long or nothing: buy whole units where nothing is held, sell all that is held."""
        if side is Side.SELL:
            return position.quantity
        return self.notional // price if position.quantity == 0 else Decimal(0)

    def _state(self, name: str, key: _Key) -> StrategyState:
        return StrategyState(
            strategy=self.strategy.name,
            key=name,
            symbol=key.last.symbol,
            last_price=exact(key.last.bar.close),
            state=dump_state(key.memory, key.waiting),
        )


def announcement(signal: Signal) -> Event:
    """The event that publishes `signal`, under the signal's own id."""
    event = Event.create(TRADING_SIGNALS, signal.key, encode_signal(signal), source=SOURCE, type=SIGNAL_TYPE)
    return event._replace(id=signal.signal_id)
