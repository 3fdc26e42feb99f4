"""Compares what was acknowledged to a publisher with what each consumer group took effect of.

Pure: arrays in, figures out. The rules:

- every delivery is an effect; a second delivery of an id is a doubled event;
- an acknowledged event that a group never got is lost;
- within a key, an event whose first delivery comes after that of a later sequence number is
  reordered. Only acknowledged events are ordered: of an unknown outcome nothing was promised;
- an event whose publish failed with an unknown outcome may be there once, or not at all;
- a delivery that carries this run's mark and an id that was never sent (or was refused as
  definitely not stored) is foreign. Events of other publishers are only counted, and must
  not be doubled either.

A window looks at the events that were due in it, wherever their deliveries lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from validation.ledger_file import ACKNOWLEDGED, REFUSED, LedgerFile, Records, UnreadableLedger

EXAMPLES: Final = 5
"""How many event ids a finding names."""
_MS: Final = 1e6

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time in ns since 1970 UTC: from `start` up to and without `end`."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a window from {self.start} to {self.end} holds nothing")


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was read of one run. A part that could not be read is the error that says why."""

    published: LedgerFile | UnreadableLedger
    groups: Mapping[str, LedgerFile | UnreadableLedger]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishFindings:
    """The publishing side. Times in milliseconds.

    `gap_ms`: the longest time without any acknowledgement while load was offered. Latencies count
    from the moment an event was due, so that a publisher held up does not hide its own delay.
    """

    offered: int
    acknowledged: int
    unknown: int
    refused: int
    seconds: float
    gap_ms: float
    latency_ms_max: float
    latency_ms_p50: float
    latency_ms_p99: float
    backends: Mapping[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Acknowledged events a second of the window."""
        return self.acknowledged / self.seconds if self.seconds else 0.0

    @property
    def stall_ms(self) -> float:
        """The longest that a caller saw publishing stand still."""
        return max(self.gap_ms, self.latency_ms_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFindings:
    """One consumer group. Counts are of events (doubled: of surplus deliveries), times in ms.

    `gap_ms`: the longest time without any delivery while load was offered; `lag_ms_max`: the
    longest from acknowledgement to first delivery. `examples` names ids by counter.
    """

    group: str
    delivered: int
    lost: int
    doubled: int
    reordered: int
    changed: int
    foreign: int
    others: int
    others_doubled: int
    gap_ms: float
    lag_ms_max: float
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def stall_ms(self) -> float:
        """The longest that this group saw consuming stand still."""
        return max(self.gap_ms, self.lag_ms_max)


def _ids(records: Records) -> npt.NDArray[np.bytes_]:
    return np.ascontiguousarray(records["id"])


def _name(identifier: bytes) -> str:
    return str(UUID(bytes=identifier.ljust(16, b"\0")))  # numpy drops trailing zero bytes


class SentIndex:
    """The published records, ready for look-up by id.

    Raises UnreadableLedger where an id was published twice, for then nothing can be matched.
    """

    def __init__(self, sent: Records) -> None:
        self.sent = sent
        self.count = len(sent)
        ids = _ids(sent)
        self._order = np.argsort(ids, kind="stable")
        self._sorted = ids[self._order]
        if self.count > 1 and bool((self._sorted[1:] == self._sorted[:-1]).any()):
            raise UnreadableLedger("the publisher's ledger holds an event id twice: deliveries cannot be told apart")
        _, keys = np.unique(np.ascontiguousarray(sent["key"]), return_inverse=True)
        self.key_index: Ints = keys.astype(np.int64)
        self.sequence: Ints = np.ascontiguousarray(sent["sequence"])
        self.acked: Mask = sent["outcome"] == ACKNOWLEDGED
        self.refused: Mask = sent["outcome"] == REFUSED

    def find(self, taken: Records) -> Ints:
        """For each delivery the index of its published record, -1 where there is none."""
        if not self.count:
            return np.full(len(taken), -1, dtype=np.int64)
        ids = _ids(taken)
        place = np.minimum(np.searchsorted(self._sorted, ids), self.count - 1)
        return np.where(self._sorted[place] == ids, self._order[place], -1).astype(np.int64)

    def mask(self, window: Window | None) -> Mask:
        """The published events that were due within `window`."""
        if window is None:
            return np.ones(self.count, dtype=np.bool_)
        due = self.sent["due"]
        inside: Mask = (due >= window.start) & (due < window.end)
        return inside

    def offered(self, window: Window | None) -> Window | None:
        """The part of `window` in which load was offered; None where there is none."""
        if not self.count:
            return None
        due = self.sent["due"]
        start, end = int(due.min()), int(due.max()) + 1
        if window is not None:
            start, end = max(start, window.start), min(end, window.end)
        return Window(start, end) if start < end else None


def longest_gap(times: npt.NDArray[np.int64], within: Window) -> int:
    """The longest stretch of `within`, in ns, that holds none of `times`."""
    inside = np.sort(times[(times >= within.start) & (times < within.end)])
    edges = np.concatenate(([within.start], inside, [within.end]))
    return int(np.diff(edges).max())


def examine_publishing(index: SentIndex, window: Window | None = None) -> PublishFindings:
    """What the publisher saw of the events due in `window`."""
    mask, offered = index.mask(window), index.offered(window)
    sent = index.sent[mask]
    acked = sent[index.acked[mask]]
    latency = (acked["acked"] - acked["due"]) / _MS
    p50, p99, worst = (float(v) for v in np.quantile(latency, (0.5, 0.99, 1.0))) if len(acked) else (0.0, 0.0, 0.0)
    all_acked = index.sent["acked"][index.acked]
    names, counts = np.unique(acked["backend"], return_counts=True)
    return PublishFindings(
        offered=len(sent),
        acknowledged=len(acked),
        unknown=int((~index.acked[mask] & ~index.refused[mask]).sum()),
        refused=int(index.refused[mask].sum()),
        seconds=(offered.end - offered.start) / 1e9 if offered else 0.0,
        gap_ms=longest_gap(all_acked, offered) / _MS if offered else 0.0,
        latency_ms_max=worst,
        latency_ms_p50=p50,
        latency_ms_p99=p99,
        backends={name.decode(): int(count) for name, count in zip(names, counts, strict=True)},
    )


@dataclass(frozen=True, slots=True)
class Matched:
    """One group's deliveries, matched with what was published; reused for each window.

    Per published event: how often it came, where it came first (-1: never), and whether a delivery
    of it was changed or out of order.
    """

    group: str
    taken: Records
    counts: Ints
    first: Ints
    changed: Mask
    late: Mask
    unmatched: Ints


def match(index: SentIndex, group: str, taken: Records) -> Matched:
    """Match the deliveries of `group`, in the order of delivery."""
    found = index.find(taken)
    known = np.flatnonzero(found >= 0)
    of = found[known]
    first = np.full(index.count, -1, dtype=np.int64)
    first[of[::-1]] = known[::-1]  # written backwards, so that the first delivery stays
    differs = np.zeros(len(known), dtype=np.bool_)
    for name in ("key", "sequence", "sha256"):
        differs |= taken[name][known] != index.sent[name][of]
    changed = np.zeros(index.count, dtype=np.bool_)
    changed[of[differs]] = True
    return Matched(
        group=group,
        taken=taken,
        counts=np.bincount(of, minlength=index.count).astype(np.int64),
        first=first,
        changed=changed,
        late=_late(index, first),
        unmatched=np.flatnonzero(found < 0),
    )


def _late(index: SentIndex, first: Ints) -> Mask:
    """Which acknowledged events came, at first, after a later one of their key."""
    late = np.zeros(index.count, dtype=np.bool_)
    events = np.flatnonzero((first >= 0) & index.acked)
    if not len(events):
        return late
    events = events[np.lexsort((first[events], index.key_index[events]))]
    # One number that grows from key to key and with the sequence within a key: its running
    # maximum never carries over from one key to the next.
    low = int(index.sequence[events].min())
    span = int(index.sequence[events].max()) - low + 1
    place = index.key_index[events] * span + (index.sequence[events] - low)
    late[events] = place < np.maximum.accumulate(place)
    return late


def examine_group(index: SentIndex, matched: Matched, window: Window | None = None) -> GroupFindings:
    """What a group got of the events due in `window`."""
    mask, offered, taken = index.mask(window), index.offered(window), matched.taken
    lost = mask & index.acked & (matched.counts == 0)
    doubled = mask & (matched.counts > 1)
    stray = _stray(taken, matched.unmatched, window)
    ours = stray[taken["ours"][stray] != 0]
    others = stray[taken["ours"][stray] == 0]
    unwanted = mask & index.refused & (matched.counts > 0)
    other_ids, repeats = np.unique(_ids(taken)[others], return_counts=True)
    examples = {
        "lost": _examples(index.sent, lost),
        "doubled": _examples(index.sent, doubled),
        "reordered": _examples(index.sent, mask & matched.late),
        "changed": _examples(index.sent, mask & matched.changed),
        "foreign": (_some(_ids(taken)[ours]) + _examples(index.sent, unwanted))[:EXAMPLES],
        "others_doubled": _some(other_ids[repeats > 1]),
    }
    arrived = np.flatnonzero(mask & index.acked & (matched.first >= 0))
    lag = taken["time"][matched.first[arrived]] - index.sent["acked"][arrived]
    return GroupFindings(
        group=matched.group,
        delivered=int(matched.counts[mask].sum()),
        lost=int(lost.sum()),
        doubled=int((matched.counts[doubled] - 1).sum()),
        reordered=int((mask & matched.late).sum()),
        changed=int((mask & matched.changed).sum()),
        foreign=len(ours) + int(unwanted.sum()),
        others=len(others),
        others_doubled=int((repeats - 1).sum()),
        gap_ms=longest_gap(np.ascontiguousarray(taken["time"]), offered) / _MS if offered else 0.0,
        lag_ms_max=max(0.0, float(lag.max()) / _MS) if len(arrived) else 0.0,
        examples={name: ids for name, ids in examples.items() if ids},
    )


def _stray(taken: Records, unmatched: Ints, window: Window | None) -> Ints:
    """Deliveries of ids that were not published here; for a window, those that came within it."""
    if window is None:
        return unmatched
    times = taken["time"][unmatched]
    return unmatched[(times >= window.start) & (times < window.end)]


def _examples(sent: Records, mask: Mask) -> tuple[str, ...]:
    return _some(sent["id"][np.flatnonzero(mask)[:EXAMPLES]])


def _some(ids: npt.NDArray[np.bytes_]) -> tuple[str, ...]:
    return tuple(_name(identifier) for identifier in ids[:EXAMPLES].tolist())
