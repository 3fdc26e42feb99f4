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

LEASE_SECONDS = 15
"""How long an adapter counts as live after its last renewal, in seconds."""
RENEW_SECONDS = 4.0
PROTOCOL_VERSION = 1
"""Raised where fence and acknowledgement change; a cutover refuses adapters of another."""


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """One adapter as the cutover sees it. `age_seconds` is the time since its last renewal, by its own clock and
    the cutover's. `clock_ahead` is how far its clock is ahead of the store's, in seconds to within 1 s; None
    where the store does not say when it was told."""

    name: str
    role: str
    acknowledged_epoch: int
    protocol_version: int
    age_seconds: float
    lag: Mapping[str, int] = field(default_factory=dict)
    clock_ahead: float | None = None

    @property
    def live(self) -> bool:
        """Whether it renewed within LEASE_SECONDS."""
        return self.age_seconds <= LEASE_SECONDS
