"""Facts that may not be had: of any backend. Nothing may take one that could not be had for a good answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that could not be had."""

    why: str


type Fact[T] = T | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How far a clock is ahead of this process's, in seconds, to within `within` s."""

    ahead: float
    within: float
