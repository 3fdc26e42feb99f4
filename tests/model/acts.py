"""What may happen in the model, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happens. `n` says to whom, or how much of it."""

    what: str
    n: int = 0


@dataclass(frozen=True, slots=True)
class Interruption:
    """What happens while an actor is about to do its `at`-th operation, and what then becomes of it. With a
    `step` of the cutover: its `at`-th operation since that step began."""

    at: int
    acts: tuple[Act, ...] = ()
    then: str = ""
    step: str = ""


@dataclass(slots=True)
class Frame:
    """How far an actor has come that is in the middle of something, and what is to interrupt it."""

    script: list[Interruption]
    done: int = 0
    step: str = ""
