"""The backtesting service as its clients see it: the interface, and the errors of all that play it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.backtests import BacktestAsked, Divergence, Result


class JobsError(Exception):
    """The root of errors about jobs."""


class JobsUnavailable(JobsError):
    """The service does not answer, or cannot take more now: come back later."""


class JobRefused(JobsError):
    """The service will not run this: what it says."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be asked for. `legs`: by strategy, how many symbols it trades; `serving`: who takes what names no
    engine."""

    legs: dict[str, int]
    symbols: tuple[str, ...]
    engines: frozenset[str]
    serving: str


@dataclass(frozen=True, slots=True)
class Job:
    """A run as it stands. `state`: queued, running, done, failed or cancelled; `seconds` from its submission to its
    end, 0 before that."""

    id: str
    engine: str
    state: str
    error: str = ""
    seconds: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether it stays as it is."""
        return self.state in ("done", "failed", "cancelled")


class Jobs(ABC):
    """Every method raises JobsUnavailable, and JobRefused where the service refuses for good."""

    @abstractmethod
    def offer(self) -> Offer:
        """What can be asked for now."""

    @abstractmethod
    def submit(self, asked: BacktestAsked) -> Job:
        """Ask for a run; the same that was asked for before is the same run."""

    @abstractmethod
    def job(self, run_id: str) -> Job:
        """How a run stands."""

    @abstractmethod
    def result(self, run_id: str) -> Result:
        """What a run came to that is done."""

    @abstractmethod
    def divergence(self, run_id: str) -> Divergence | None:
        """What the other engine made of a run; None where it did not do it, or not yet."""

    @abstractmethod
    def unended(self) -> int:
        """How many of the newest runs wait or run, those included that nobody asked for."""

    @abstractmethod
    def finished(self, limit: int) -> Sequence[Job]:
        """The newest runs that are done, those included that nobody asked for."""

    @abstractmethod
    def recorded(self, limit: int) -> Sequence[BacktestAsked]:
        """What was asked for in the newest runs that are done, each once, whatever engine did them."""
