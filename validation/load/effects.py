"""What a service's database says it took effect of, judged like any other consumer group.

The trading engine notes each event in the transaction that holds its effects. So these notes are the
effects themselves: an event without one had none, and their numbers are the order in which they came.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import numpy as np

from adapters.database import TradingStore
from adapters.database.base import Claimed
from adapters.database.errors import DatabaseError
from validation.event_bus import Proof, Rules
from validation.ledger import Ledger
from validation.ledger_file import (
    ACKNOWLEDGED,
    KEY_BYTES,
    PACK_TAKEN,
    TAKEN,
    LedgerFile,
    UnreadableLedger,
    publish_path,
    read_ledger,
)
from validation.load import marks
from validation.result import Report

_PAGE = 5000
_POLL_SECONDS = 2.0


def judge_effects(folder: Path, store: TradingStore, group: str, seconds: float) -> Report:
    """The report on what `group` took effect of, once it has taken all, or after `seconds`."""
    subject = f"effects of {group}"
    try:
        published = read_ledger(publish_path(folder), "publish")
    except UnreadableLedger as error:
        return Proof(Ledger(published=error, groups={}), Rules()).judge(subject)
    wanted = published.records["id"][published.records["outcome"] == ACKNOWLEDGED]
    ids = [str(UUID(bytes=bytes(identifier).ljust(16, b"\0"))) for identifier in wanted]
    taken: LedgerFile | UnreadableLedger
    try:
        claims = _await(store, group, ids, seconds)
        header = {"run": published.header.get("run"), "group": group}
        records = np.frombuffer(b"".join(_packed(claims)), dtype=TAKEN)
        taken = LedgerFile(Path(f"database-{group}"), header, {"ended": "drained", "failure": None}, records)
    except DatabaseError as error:
        taken = UnreadableLedger(f"the database does not tell what {group} took: {error}")
    return Proof(Ledger(published=published, groups={group: taken}), Rules()).judge(subject)


def _await(store: TradingStore, group: str, ids: Sequence[str], seconds: float) -> list[Claimed]:
    """The claims of `group` on `ids`: all of them, or what there is after `seconds`."""
    deadline = time.monotonic() + seconds
    found: dict[str, Claimed] = {}
    while True:
        missing = [identifier for identifier in ids if identifier not in found]
        for begin in range(0, len(missing), _PAGE):
            page = missing[begin : begin + _PAGE]
            found |= {claim.received.event_id: claim for claim in store.claimed(group, page)}
        if len(found) == len(ids) or time.monotonic() > deadline:
            return sorted(found.values(), key=lambda claim: claim.number)
        time.sleep(_POLL_SECONDS)  # the database announces nothing


def _packed(claims: Sequence[Claimed]) -> Iterator[bytes]:
    for claim in claims:
        event = claim.received
        at = int(claim.at.timestamp() * 1e9)
        sequence = -1 if event.sequence is None else event.sequence
        key = event.key.encode()[:KEY_BYTES]
        yield PACK_TAKEN(marks.id_bytes(event.event_id), key, sequence, at, event.payload_sha256, True)
