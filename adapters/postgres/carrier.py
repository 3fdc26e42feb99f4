"""Carries what is committed on one side to the other: whole transactions, in their order, exactly once.

Transactions that have come are applied together in one, which begins with the mark: so position and rows are durable
in one step, and the stream that leads back knows what is ours by its first change. The source is told only then. A
transaction of any size takes bounded memory, for it is written while it arrives.

Nothing is left out silently. What the other side's stream wrote here is dropped, by its mark; what the gate does not
let through is held, with all that follows it, and told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

from adapters.postgres import applying
from adapters.postgres.applying import Gathering
from adapters.postgres.bookkeeping import BROKEN_OFF, HEARTBEAT, MARK, PUBLICATION, SCHEMA, slot_name
from adapters.postgres.describing import Descriptions, bookkeeping_table, tables_of
from adapters.postgres.driver import Address, lsn_text
from adapters.postgres.errors import Conflict, Malformed
from adapters.postgres.gate import Gate
from adapters.postgres.holding import Ahead, Held
from adapters.postgres.masks import Masks
from adapters.postgres.pgoutput import Begin, Change, Commit, Delete, Insert, Relation, Row, Truncate, Update, decode
from adapters.postgres.stream import Data, Keepalive, Stream
from adapters.postgres.target import Target


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one transaction at the target. `transactions`: of the source in it; `bytes`: of them; `seconds`: for
    which more is added to it; `unsent_bytes`: of changes that are kept before they are sent; `ahead_bytes`: of what is
    read behind something held, to count it."""

    transactions: int = 500
    bytes: int = 8 << 20
    seconds: float = 0.25
    unsent_bytes: int = 1 << 20
    ahead_bytes: int = 1 << 20


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class State:
    """How far a stream is. LSNs are the source's. `catching_up`: its rows may be in the copy already. `transactions`
    and `changes` count what was applied since it was opened; `dropped`, the transactions that were ours."""

    applied: int
    received: int
    confirmed: int
    seconds_behind: float
    held: Held | None
    catching_up: bool
    replica_role: bool
    transactions: int = 0
    changes: int = 0
    dropped: int = 0
    error: str = ""

    @property
    def lag_bytes(self) -> int:
        """What was received and not yet confirmed."""
        return max(0, self.received - self.confirmed)


class _Kind(Enum):
    UNDECIDED = "nothing of it was seen"
    DROPPED = "ours, or applied before"
    BEATING = "heartbeats only"
    CONTENT = "is being written"


@dataclass(slots=True)
class _Open:
    """The transaction of the source that is being read."""

    begin: Begin
    catching_up: bool
    kind: _Kind = _Kind.UNDECIDED
    beats: list[tuple[int, Row]] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """The transaction of the target that is being written: of which commits, the oldest of when, and begun when."""

    last: int
    oldest: int
    begun: float
    transactions: int = 0
    bytes: int = 0


class Carrier:
    """One stream, from opening to its first error; after it, open another. Owned by one thread, but for `state`.

    step() raises what Stream and Target raise, Malformed, and Drift where a table is not at the target as it is at the
    source. In each case nothing was confirmed that is not applied.
    """

    def __init__(self, stream: Stream, target: Target, gate: Gate, limits: Limits = LIMITS) -> None:
        self._stream = stream
        self._target = target
        self._gate = gate
        self._limits = limits
        self._descriptions = Descriptions(target)
        self._gathering = Gathering()
        self._open: _Open | None = None
        self._batch: _Batch | None = None
        self._ahead = Ahead(limits.ahead_bytes)
        self._reached = stream.confirmed
        self._sent, self._sent_at = 0, time.monotonic()
        self._held: Held | None = None
        self._transactions = self._changes = self._dropped = 0
        self._state = self._told()

    @property
    def state(self) -> State:
        """As of the last step."""
        return self._state

    def step(self, timeout: float) -> int:
        """Carry what has come, waiting at most `timeout` seconds for it; how many transactions of the source came to
        their end. Returns soon also in the midst of a large one, which the next step goes on with."""
        if self._held is not None and not self._released(self._held, timeout):
            return 0
        ended, moved, until = 0, False, time.monotonic() + max(timeout, self._limits.seconds)
        while self._held is None and not self._full() and time.monotonic() < until:
            # Under load the server sends a keepalive behind each transaction: only what has not come ends a batch.
            wait = 0.0 if moved and not self._writing() else timeout
            piece = self._ahead.take() or self._stream.read(wait)
            if piece is None:
                break
            self._sent, self._sent_at = piece.sent, time.monotonic()
            if isinstance(piece, Keepalive):
                if self._open is None:
                    self._reached, moved = max(self._reached, piece.end), True
            elif self._take(piece):
                ended, moved = ended + 1, True
        if not self._writing():
            self._settle()
        self._state = self._told()
        return ended

    def close(self) -> None:
        """Give both connections up. What was not committed comes again."""
        try:
            self._stream.close()
        finally:
            self._target.close()

    def _writing(self) -> bool:
        """Whether a part of a transaction of the source is written."""
        return self._open is not None and self._open.kind is _Kind.CONTENT

    def _full(self) -> bool:
        batch, limits = self._batch, self._limits
        if batch is None or self._open is not None:
            return False
        return (
            batch.transactions >= limits.transactions
            or batch.bytes >= limits.bytes
            or time.monotonic() - batch.begun >= limits.seconds
        )

    def _settle(self) -> None:
        """Commit what is complete, and then tell the source."""
        batch = self._batch
        if batch is not None:
            self._target.commit(batch.last, self._gathering.take())
            self._batch = None
            self._transactions += batch.transactions
        self._stream.confirm(self._reached)

    def _take(self, piece: Data) -> bool:
        """One message; whether it ended a transaction."""
        message = decode(piece.payload)
        if isinstance(message, Begin):
            known = message.commit <= self._target.mark
            catching_up = message.commit < self._target.strict_from
            self._open = _Open(message, catching_up, _Kind.DROPPED if known else _Kind.UNDECIDED)
        elif isinstance(message, Commit):
            self._end(message)
            return True
        elif isinstance(message, Relation):
            self._descriptions.learn(message)
        elif isinstance(message, Insert | Update | Delete | Truncate):
            self._change(message, piece)
        return False

    def _end(self, message: Commit) -> None:
        done, self._open = self._opened(), None
        if done.kind is _Kind.BEATING:
            self._write_beats(done)
        if done.kind in {_Kind.BEATING, _Kind.CONTENT}:
            batch = self._begun(done)
            batch.last = done.begin.commit
            batch.transactions += 1
        elif done.kind is _Kind.DROPPED:
            self._dropped += 1
        self._reached = max(self._reached, message.end)

    def _change(self, change: Change, piece: Data) -> None:
        opened, ours = self._opened(), bookkeeping_table(change, self._descriptions.relations)
        if opened.kind is _Kind.DROPPED:
            return
        if opened.kind is _Kind.UNDECIDED and ours == MARK and isinstance(change, Insert | Update):
            opened.kind = _Kind.DROPPED
        elif ours == HEARTBEAT and isinstance(change, Insert | Update):
            opened.beats.append((change.relation, change.row))
            if opened.kind is _Kind.CONTENT:
                self._write_beats(opened)
            else:
                opened.kind = _Kind.BEATING
        elif not ours:
            self._content(opened, change, piece)

    def _content(self, opened: _Open, change: Change, piece: Data) -> None:
        if opened.kind is not _Kind.CONTENT:
            passes = self._gate.allows(opened.begin.commit) or self._target.passes(opened.begin)
            if passes is False:  # settled, and none of the target's: strays.py
                opened.kind = _Kind.DROPPED
                return
            if passes is None:
                table = self._descriptions.relation(tables_of(change)[0])
                self._held = Held(opened.begin.commit, str(table))
                self._ahead.put_back(piece, self._descriptions.relations)
                return
            opened.kind = _Kind.CONTENT
            self._begun(opened)
            self._write_beats(opened)
        self._write(change, opened.catching_up)
        self._begun(opened).bytes += len(piece.payload)
        self._changes += 1
        if self._gathering.bytes >= self._limits.unsent_bytes:
            self._target.write(self._gathering.take())

    def _begun(self, opened: _Open) -> _Batch:
        """The target's transaction, with its mark written first."""
        if self._batch is None:
            self._target.begin(opened.begin.commit)
            self._batch = _Batch(opened.begin.commit, opened.begin.at, time.monotonic())
        return self._batch

    def _write(self, change: Change, catching_up: bool) -> None:
        if isinstance(change, Truncate):
            kept = [oid for oid in change.relations if self._descriptions.relation(oid).schema != SCHEMA]
            self._gathering.add(applying.truncate([self._descriptions.shape(oid) for oid in kept]))
        elif isinstance(change, Insert):
            self._gathering.insert(self._descriptions.shape(change.relation), change.row, catching_up)
        elif isinstance(change, Update):
            self._gathering.add(applying.update(self._descriptions.shape(change.relation), change, catching_up))
        else:
            self._gathering.add(applying.delete(self._descriptions.shape(change.relation), change, catching_up))

    def _write_beats(self, opened: _Open) -> None:
        if opened.beats:
            self._begun(opened)
        for relation, row in opened.beats:
            self._gathering.add(applying.insert(self._descriptions.shape(relation), [row], True))
        opened.beats.clear()

    def _opened(self) -> _Open:
        if self._open is None:
            raise Malformed("a change or an end outside of a transaction")
        return self._open

    def _released(self, held: Held, timeout: float) -> bool:
        """Whether what is held may go on, by the gate or by what was decided of it; waits for that, and counts
        meanwhile what follows."""
        if self._gate.allows(held.commit) or self._target.passes(self._opened().begin) is not None:
            self._held = None
            return True
        more = self._ahead.read(self._stream)
        self._stream.keep_alive()
        self._held = Held(held.commit, held.table, more, self._ahead.full)
        self._state = self._told()
        self._gate.wait(timeout)
        return False

    def _told(self) -> State:
        oldest = self._batch.oldest if self._batch is not None else None
        if self._held is not None and self._open is not None:
            oldest = self._open.begin.at
        now = self._sent / 1e6 + time.monotonic() - self._sent_at
        return State(
            applied=self._target.mark,
            received=self._stream.received,
            confirmed=self._stream.confirmed,
            seconds_behind=0.0 if oldest is None else max(0.0, now - oldest / 1e6),
            held=self._held,
            catching_up=self._target.mark < self._target.strict_from,
            replica_role=self._target.replica_role,
            transactions=self._transactions,
            changes=self._changes,
            dropped=self._dropped,
        )


@dataclass(frozen=True, slots=True)
class End:
    """One side of a stream: a backend's name, and where it is."""

    name: str
    address: Address


def open_carrier(source: End, target: End, gate: Gate, limits: Limits = LIMITS, masks: Masks | None = None) -> Carrier:
    """Open the stream from `source` to `target`, where it stopped. Its walsender at the source has the slot's name as
    application_name. No error tells what `masks` hide. Raises SlotLost, Unavailable, Refused, StatementFailed,
    Conflict."""
    name = slot_name(source.name)
    writer = Target(target.address, name, application=name, masks=masks)
    try:
        if writer.mark == BROKEN_OFF:
            raise Conflict(f"what comes from {source.name} was broken off at {target.address} in an emergency")
        start = writer.mark + 1 if writer.mark else 0
        stream = Stream(source.address, name, PUBLICATION, start=start, application=name)
    except BaseException:
        writer.close()
        raise
    if writer.mark > stream.written:
        stream.close()
        writer.close()
        raise Conflict(
            f"{target.address} has applied {source.name} up to {lsn_text(writer.mark)}, and {source.address} has "
            f"written up to {lsn_text(stream.written)} only: it is not the server that was followed, or it was set back"
        )
    return Carrier(stream, writer, gate, limits)
