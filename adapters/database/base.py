"""The interface of the trading store: what is kept, and in which transactions.

The contract that each implementation keeps is tests/contract/test_database.py. Rows are
frozen dataclasses; money and quantities are Decimal, times are UTC.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from contracts.envelope import Event
from contracts.market import Side, Signal


class OrderStatus(StrEnum):
    """An order waits for the next bar of its key (open), then has its price (filled)."""

    OPEN = "open"
    FILLED = "filled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An event as the ledger of effects keeps it. `sequence` is the payload's own, if it has one."""

    event_id: str
    topic: str
    key: str
    sequence: int | None
    payload_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An event that took effect. `number` grows with each effect, whatever its group; `at` is when its
    transaction began."""

    received: Received
    number: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What is held of a key. `average_price` and `realized_pnl` in the instrument's currency;
    `last_price` is the last close seen, None in what is written."""

    strategy: str
    key: str
    symbol: str
    quantity: Decimal
    average_price: Decimal
    realized_pnl: Decimal
    last_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyState:
    """What a strategy remembers of a key, as JSON text, and the last close that it saw."""

    strategy: str
    key: str
    symbol: str
    last_price: Decimal
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """An order as it is made. `quantity` in whole units, above 0."""

    order_id: str
    signal_id: str
    strategy: str
    key: str
    symbol: str
    side: Side
    quantity: Decimal
    source_event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """An open order got its price."""

    order_id: str
    price: Decimal
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Everything that one batch of events changes, written in one transaction."""

    states: Sequence[StrategyState] = ()
    positions: Sequence[Position] = ()
    orders: Sequence[NewOrder] = ()
    fills: Sequence[Fill] = ()
    signals: Sequence[Signal] = ()
    outbox: Sequence[Event] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """An order as it stands. `number` grows with each order and is the cursor of pages."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRow:
    """A signal as it stands. `comment` is None until a model has said something about it."""

    number: int
    signal: Signal
    comment: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `TradingTx.load` found for a key: the strategy's JSON, and the position."""

    state: str
    position: Position | None


class TradingTx(ABC):
    """One open transaction. Only valid inside the function given to `TradingStore.run`."""

    @abstractmethod
    def claim(self, group: str, received: Sequence[Received]) -> frozenset[str]:
        """Note that `group` takes these events, in this order; the ids that it had not taken
        before. What is claimed is claimed by nobody else once the transaction ends well."""

    @abstractmethod
    def load(self, strategy: str, keys: Sequence[str]) -> Mapping[str, Loaded]:
        """What is known of `keys`, locked until the transaction ends. Unknown keys are absent,
        but locked too."""

    @abstractmethod
    def write(self, effects: Effects) -> None:
        """Write `effects`."""


class TradingStore(ABC):
    """Positions, orders, signals, and the ledger of effects. Thread-safe.

    All methods raise what adapters/database/errors.py draws. Retries of transient errors
    happen inside, until the store's own deadline.
    """

    @abstractmethod
    def migrate(self) -> Sequence[str]:
        """Bring the schema up to date; the names of the migrations that ran. Safe when several
        processes do it at once."""

    @abstractmethod
    def run[T](self, work: Callable[[TradingTx], T]) -> T:
        """`work` in one transaction: all of it or, where it raises, nothing. `work` is called again
        where the transaction failed for a passing reason, so it must have no other effects."""

    @abstractmethod
    def claimed(self, group: str, event_ids: Sequence[str]) -> Sequence[Claimed]:
        """Of these events those that `group` took, in the order in which they took effect."""

    @abstractmethod
    def positions(self, *, after: str = "", limit: int = 100) -> Sequence[Position]:
        """Positions whose key comes after `after`, by key."""

    @abstractmethod
    def orders(self, *, key: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[OrderRow]:
        """Orders, newest first; those with a number below `before`."""

    @abstractmethod
    def signals(self, *, key: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[SignalRow]:
        """Signals, newest first; those with a number below `before`."""

    @abstractmethod
    def set_comment(self, signal_id: str, comment: str) -> bool:
        """Give a signal its comment; False where it has one already or does not exist."""

    @abstractmethod
    def unsent(self, limit: int) -> Sequence[Event]:
        """Outbox events not marked as sent, oldest first."""

    @abstractmethod
    def waiting(self) -> int:
        """How many outbox events are not marked as sent."""

    @abstractmethod
    def mark_sent(self, event_ids: Sequence[str]) -> int:
        """Note that these outbox events are durable on the bus; how many were not marked before."""

    @abstractmethod
    def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Become, or stay, the one holder of `name` for `seconds`; False while another is."""

    @abstractmethod
    def drop_lease(self, name: str, holder: str) -> None:
        """Give `name` up, if `holder` has it."""

    @abstractmethod
    def purge(self, older_than: timedelta, limit: int = 10_000) -> int:
        """Forget up to `limit` each of sent outbox events and of claims that are older; how many went.

        Claims must outlive the longest time after which the bus may deliver an event again."""

    @abstractmethod
    def ping(self) -> None:
        """One short round trip, not retried. Raises where the database cannot be used, saying why."""

    @abstractmethod
    def close(self) -> None:
        """Give up connections."""
