"""How long each phase of a switch may take, in seconds, and why."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.event_bus.gate import FENCE_HOLD_SECONDS


@dataclass(frozen=True, slots=True)
class Timing:
    """Limits of a switch. `pause` bounds fence to open: beyond it the switch is undone. It must stay
    below FENCE_HOLD_SECONDS, after which adapters stop obeying a fence that nobody opened."""

    fence: float = 8.0
    pause: float = 20.0
    drain: float = 10.0
    backfill: float = 900.0
    watch: float = 10.0
    watch_pace: float = 0.5
    answer: float = 60.0
    finish_groups: float = 300.0
    lock_wait: float = 45.0
    mirror_lag: float = 10.0
    survey: float = 2.0
    flight_fence: float = 5.0
    """How long an emergency waits for adapters: beyond it traffic moves without those that are silent."""
    flight_count: float = 3.0

    def __post_init__(self) -> None:
        if self.pause >= FENCE_HOLD_SECONDS:
            raise ValueError(
                f"a pause of {self.pause:g} s would outlast the {FENCE_HOLD_SECONDS:g} s for which adapters obey a "
                "fence: events would go to the sealed backend. Choose a shorter pause"
            )
