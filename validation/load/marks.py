"""What the load's payloads look like: real bars, marked with their run, so that everyone can trade on them.

The mark stands at the end of the payload, where a consumer finds it without parsing JSON:
`...,"sequence":17,"run":"<run>"}`. Probes, which only show that a consumer is there, carry `"probe"`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from contracts.market import Bar, encode_tick

KEYS: Final = 8
_FIRST_DAY: Final = date(2000, 1, 3)
_DAYS: Final = 365_000
"""After so many bars of a key the dates begin again: a date has no room for more."""
_WAVE: Final = 400
"""Bars of one rise and fall: long enough that moving averages cross rarely, so that the engine trades
steadily without the load becoming a load of orders."""


def symbols(count: int = KEYS) -> tuple[str, ...]:
    """The keys of the load."""
    return tuple(f"LOAD-{number}" for number in range(1, count + 1))


def bar(key_number: int, sequence: int) -> Bar:
    """Bar `sequence` of a key: a slow wave with a little noise that is the same in every run."""
    phase = 2 * math.pi * (sequence + key_number * _WAVE / KEYS) / _WAVE
    noise = ((sequence * 2654435761 + key_number * 40503) & 0xFFFF) / 0xFFFF - 0.5
    close = round(100.0 + 20.0 * math.sin(phase) + 0.2 * noise, 4)
    opened = round(close - 0.1 * math.cos(phase), 4)
    return Bar(
        date=_FIRST_DAY + timedelta(days=sequence % _DAYS),
        open=opened,
        high=round(max(opened, close) + 0.25, 4),
        low=round(min(opened, close) - 0.25, 4),
        close=close,
        volume=float(1000 + sequence % 977),
    )


def payload(symbol: str, key_number: int, sequence: int, run: str) -> bytes:
    """The payload of an event of the run."""
    return encode_tick(symbol, sequence, bar(key_number, sequence))[:-1] + _mark("run", run)


def probe(symbol: str, key_number: int, run: str) -> bytes:
    """The payload of a probe: a bar like any other, that no ledger counts as the run's."""
    return encode_tick(symbol, 0, bar(key_number, 0))[:-1] + _mark("probe", run)


def _mark(kind: str, run: str) -> bytes:
    return f',"{kind}":"{run}"}}'.encode()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a consumer writes down of a payload. `sequence` is -1 where none could be read."""

    ours: bool
    sequence: int
    sha256: bytes


class Reader:
    """Reads payloads for the consumers of `run`."""

    def __init__(self, run: str) -> None:
        self._run = _mark("run", run)
        self._probe = _mark("probe", run)

    def read(self, data: bytes) -> Reading:
        """What is to be written down of `data`."""
        digest = hashlib.sha256(data).digest()
        if not data.endswith(self._run):
            return Reading(False, -1, digest)
        digits = data[: -len(self._run)].rpartition(b'"sequence":')[2]
        return Reading(True, int(digits) if digits.isdigit() else -1, digest)

    def is_probe(self, data: bytes) -> bool:
        """Whether `data` is a probe of this run."""
        return data.endswith(self._probe)


def id_bytes(event_id: str) -> bytes:
    """The 16 bytes that stand for an event id; ids of others need not be UUIDs, and are hashed."""
    try:
        raw = bytes.fromhex(event_id.replace("-", ""))
    except ValueError:
        raw = b""
    return raw if len(raw) == 16 else hashlib.sha256(event_id.encode()).digest()[:16]
