"""Runs of a load generator, made in memory: clean ones, which the tests then spoil."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from validation.ledger_file import (
    ACKNOWLEDGED,
    PACK_SENT,
    PACK_TAKEN,
    SENT,
    TAKEN,
    LedgerWriter,
    Records,
    consume_path,
    publish_path,
)

START = 1_700_000_000_000_000_000
STEP = 1_000_000  # one event a millisecond
LATENCY = 2_000_000


@dataclass
class Sent:
    """One publish, as the tests handle it."""

    number: int
    key: str
    sequence: int
    payload: bytes
    outcome: int = ACKNOWLEDGED
    id: bytes = b""
    backend: bytes = b"redis"

    @property
    def due(self) -> int:
        return START + self.number * STEP

    def pack(self) -> bytes:
        acked = self.due + LATENCY
        digest = hashlib.sha256(self.payload).digest()
        return PACK_SENT(
            self.id, self.key.encode(), self.sequence, self.due, self.due, acked, digest, 1, self.backend, self.outcome
        )


@dataclass
class Taken:
    """One delivery, as the tests handle it."""

    id: bytes
    key: str
    sequence: int
    payload: bytes
    time: int
    ours: bool = True

    def pack(self) -> bytes:
        digest = hashlib.sha256(self.payload).digest()
        return PACK_TAKEN(self.id, self.key.encode(), self.sequence, self.time, digest, self.ours)


@dataclass
class Run:
    """A run of `count` events over `keys` keys, delivered once to each group in order."""

    count: int = 80
    keys: int = 8
    groups: tuple[str, ...] = ("a", "b", "c")
    sent: list[Sent] = field(default_factory=list)
    taken: dict[str, list[Taken]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Ids that end in zero bytes are among them on purpose: numpy's byte strings drop those.
        self.sent = [
            Sent(n, f"K{n % self.keys}", n // self.keys, b"payload %d" % n, id=uuid.UUID(int=(n + 1) << 8).bytes)
            for n in range(self.count)
        ]
        self.taken = {group: [delivery(event) for event in self.sent] for group in self.groups}

    def sent_records(self) -> Records:
        return np.frombuffer(b"".join(event.pack() for event in self.sent), dtype=SENT)

    def taken_records(self, group: str) -> Records:
        return np.frombuffer(b"".join(event.pack() for event in self.taken[group]), dtype=TAKEN)

    def write(self, folder: Path, ended: str = "drained", run: str = "r1") -> Path:
        """Write the ledgers as the load generator does."""
        folder.mkdir(parents=True, exist_ok=True)
        publisher = LedgerWriter(publish_path(folder), "publish", {"run": run})
        publisher.append(b"".join(event.pack() for event in self.sent))
        publisher.close({"ended": "completed", "errors": {}})
        for group in self.groups:
            consumer = LedgerWriter(consume_path(folder, group), "consume", {"run": run, "group": group})
            consumer.append(b"".join(event.pack() for event in self.taken[group]))
            consumer.close({"ended": ended, "failure": None})
        return folder


def delivery(event: Sent, after: int = 3_000_000) -> Taken:
    """The delivery of `event`, `after` ns after it was due."""
    return Taken(event.id, event.key, event.sequence, event.payload, event.due + after)
