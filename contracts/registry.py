"""How a live adapter makes itself known, so that a fence can wait for it.

Each adapter instance holds a coordination.k8s.io/v1 Lease in the trading namespace,
labelled with its component and owned by its pod (it goes when the pod goes). Its
annotations carry what the adapter acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LABEL_ADAPTER = "crossover.dev/adapter"
"""On Leases and on pods whose containers hold an adapter: the component's slug."""
ANNOTATION_EPOCH = "crossover.dev/acknowledged-epoch"
ANNOTATION_ROLE = "crossover.dev/role"
ANNOTATION_VERSION = "crossover.dev/protocol-version"

ANNOTATION_LAG = "crossover.dev/lag"
"""JSON: events not yet acknowledged, by `topic/group`, for the groups that this adapter reads as."""

ANNOTATION_STRANDED = "crossover.dev/stranded"
"""JSON: by topic, the Tail that this adapter knows of. Only in and after an emergency."""

ANNOTATION_STATUS = "crossover.dev/status"
"""JSON: what the adapter says of itself beyond its epoch; of which keys is its role's business."""

LABEL_BESIDE = "crossover.dev/beside"
"""On Leases of those that only tell how they are, and that no fence waits for: the component's slug."""

LEASE_SECONDS = 15
"""How long an adapter counts as live after its last renewal, in seconds."""
RENEW_SECONDS = 4.0
PROTOCOL_VERSION = 2
"""Raised where fence and acknowledgement change; a cutover refuses adapters of another."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Acknowledged events of one topic that were not copied: how many, and the ids of the first and the last.
    `at_least`: there were more than could be remembered."""

    count: int
    first: str
    last: str
    at_least: bool = False

    def __add__(self, other: Tail) -> Tail:
        """Both together. Ids are UUIDv7, which sort by time."""
        return Tail(
            self.count + other.count,
            min(self.first, other.first),
            max(self.last, other.last),
            self.at_least or other.at_least,
        )


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """One adapter as the cutover sees it. `age_seconds` is the time since its last renewal, by its own clock and
    the cutover's. `clock_ahead` is how far its clock is ahead of the store's, in seconds to within 1 s; None
    where the store does not say when it was told. `stranded`: by topic, see Tail. `status`: more that an adapter of
    this role tells, as the pooler's agent why it cannot acknowledge."""

    name: str
    role: str
    acknowledged_epoch: int
    protocol_version: int
    age_seconds: float
    lag: Mapping[str, int] = field(default_factory=dict)
    clock_ahead: float | None = None
    stranded: Mapping[str, Tail] = field(default_factory=dict)
    status: Mapping[str, str] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether it renewed within LEASE_SECONDS."""
        return self.age_seconds <= LEASE_SECONDS


@dataclass(frozen=True, slots=True)
class Bulletin:
    """What one tells of itself that works beside the adapters and takes no part in a fence, as the carrier. `status` is
    its own business; `age_seconds` as an AdapterRecord's."""

    name: str
    status: Mapping[str, str]
    age_seconds: float

    @property
    def live(self) -> bool:
        """Whether it told within LEASE_SECONDS."""
        return self.age_seconds <= LEASE_SECONDS
