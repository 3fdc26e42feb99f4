"""What a stream holds back, and how much of it there is."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from adapters.postgres.bookkeeping import HEARTBEAT
from adapters.postgres.describing import bookkeeping_table
from adapters.postgres.driver import lsn_text
from adapters.postgres.pgoutput import Begin, Delete, Insert, Message, Relation, Truncate, Update, decode
from adapters.postgres.stream import Data, Keepalive, Stream


@dataclass(frozen=True, slots=True)
class Held:
    """What the gate keeps: transactions with content, the first at `commit`, with `table` changed first. `at_least`:
    there may be more behind them."""

    commit: int
    table: str
    transactions: int = 1
    at_least: bool = False

    def __str__(self) -> str:
        many = "at least " if self.at_least else ""
        return f"{many}{self.transactions} from {lsn_text(self.commit)} on, the first changing {self.table}"


class Ahead:
    """What was read and is not yet taken: what is held, and some of what follows, to count it."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._pieces: deque[Data | Keepalive] = deque()
        self._relations: dict[int, Relation] = {}
        self._bytes = self._transactions = 0
        self._undecided = False

    @property
    def full(self) -> bool:
        """Whether no more is read."""
        return self._bytes >= self._most_bytes

    def put_back(self, piece: Data, relations: Mapping[int, Relation]) -> None:
        """Hold `piece`, the first of what is held."""
        self._pieces.appendleft(piece)
        self._relations = dict(relations)
        self._bytes, self._transactions, self._undecided = 0, 1, False
        for later in list(self._pieces)[1:]:
            self._count(later)

    def take(self) -> Data | Keepalive | None:
        """The next one."""
        return self._pieces.popleft() if self._pieces else None

    def read(self, stream: Stream) -> int:
        """Read what has come; how many transactions with content are held."""
        while not self.full and (piece := stream.read(0.0)) is not None:
            if isinstance(piece, Data):
                self._pieces.append(piece)
                self._count(piece)
        return self._transactions

    def _count(self, piece: Data | Keepalive) -> None:
        if isinstance(piece, Keepalive):
            return
        self._bytes += len(piece.payload) + 100
        message: Message = decode(piece.payload)
        if isinstance(message, Relation):
            self._relations[message.id] = message
        elif isinstance(message, Begin):
            self._undecided = True
        elif self._undecided and isinstance(message, Insert | Update | Delete | Truncate):
            ours = bookkeeping_table(message, self._relations)
            self._undecided = ours == HEARTBEAT
            self._transactions += not ours
