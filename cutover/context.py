"""What every step of a transition works with."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from adapters.routes.base import (
    AdapterRegistry,
    BackupNotes,
    ClusterAccess,
    ClusterNodes,
    LockHeld,
    RouteError,
    RouteStore,
    SwitchLock,
    Versioned,
)
from adapters.routes.memory import MemoryBackupNotes, MemoryNodes
from adapters.routes.recording import Recorder
from contracts import names
from contracts.registry import RENEW_SECONDS
from contracts.routes import Route
from contracts.stages import Component
from cutover.errors import CouldNotCheck, CutoverError, Interrupted, StepFailed
from cutover.timing import Timing
from validation.result import Check


def utc_now() -> str:
    """RFC 3339 UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a comparison rests on, for its verdict: see KeptVerdict. `since`: when the oldest of what was seen was seen,
    where that may be before the step; `spared`: it was not made anew, for a run that was cut off had made it."""

    positions: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    since: datetime | None = None
    spared: bool = False


@dataclass(slots=True)
class Context:
    """One run of a cutover, and its only clock. `say` takes a line for people; `holder` names this run in
    locks, `owner` whose run it is: a newer run of the same owner takes its place; `checks` gathers what the
    step under way has checked, item by item, and `evidence` what its comparison rests on; `verdict_limit`: how old a
    kept verdict may be; `clock` is the time of day, which verdicts are dated by; `audit` is told what happens, and
    stands in nobody's way."""

    component: Component
    store: RouteStore
    registry: AdapterRegistry
    lock: SwitchLock
    cluster: ClusterAccess
    timing: Timing
    holder: str
    say: Callable[[str], None]
    owner: str = ""
    backups: BackupNotes = field(default_factory=MemoryBackupNotes)
    nodes: ClusterNodes = field(default_factory=MemoryNodes)
    audit: Recorder = field(default_factory=Recorder)
    verdict_limit: timedelta = timedelta(hours=names.DEFAULT_VERDICT_HOURS)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    stopped: threading.Event = field(default_factory=threading.Event)
    lost_lock: threading.Event = field(default_factory=threading.Event)
    seen: Versioned = field(default_factory=lambda: Versioned(None, ""))
    checks: list[Check] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def route(self) -> Route:
        """The route as last read or written by this run."""
        if self.seen.route is None:
            raise CouldNotCheck("there is no route yet", "This is a defect: ESTABLISH must come first")
        return self.seen.route

    def read(self) -> Route | None:
        """Read the route anew."""
        self.seen = self.store.read(self.component)
        return self.seen.route

    def write(self, route: Route) -> None:
        """Write the route by compare-and-set against what this run saw last.

        Raises RouteConflict, and CouldNotCheck where the lock was lost: then somebody else switches.
        """
        if self.lost_lock.is_set():
            raise CouldNotCheck("this run lost the switch lock", "Run pulumi up again once the other switch ended")
        self.seen = self.store.write(route, self.seen.version)

    def take_checks(self) -> tuple[Check, ...]:
        """What was checked since this was last called."""
        taken, self.checks = tuple(self.checks), []
        return taken

    def take_evidence(self) -> Evidence:
        """What the comparison rests on that was made since this was last called."""
        taken, self.evidence = self.evidence, Evidence()
        return taken

    def now(self) -> float:
        """Seconds, monotonic."""
        return time.monotonic()

    def rest(self, seconds: float) -> None:
        """Let `seconds` pass, or less where this run is asked to stop."""
        self.stopped.wait(seconds)

    @contextlib.contextmanager
    def lock_kept(self) -> Iterator[None]:
        """Renew the switch lock meanwhile."""
        ended = threading.Event()
        keeper = threading.Thread(target=self._keep_lock, args=(ended,), name="switch-lock", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            ended.set()
            keeper.join()

    def _keep_lock(self, ended: threading.Event) -> None:
        while not ended.wait(RENEW_SECONDS):
            try:
                newer = self.lock.renew(self.component, self.holder)
                if newer is not None and not self.stopped.is_set():
                    self.say(f"  {newer} was started after this run: giving way to it")
                    self.stopped.set()
            except LockHeld:
                self.lost_lock.set()
                return
            except RouteError as error:
                self.say(f"  could not renew the switch lock: {error}")

    def check_stop(self) -> None:
        """Raise Interrupted where this run was asked to stop or lost its lock."""
        if self.stopped.is_set():
            raise Interrupted("asked to stop", "Run pulumi up again to resume")
        if self.lost_lock.is_set():
            raise Interrupted("the switch lock was lost to another run", "See crossover status")

    def until(
        self,
        reached: Callable[[], bool],
        seconds: float,
        failure: Callable[[], CutoverError],
        *,
        every: float = 0.02,
        note: Callable[[], str] | None = None,
    ) -> None:
        """Ask `reached` every `every` s until it holds; raise `failure()` after `seconds`.

        `note` gives a line of progress, said every 5 s.
        """
        deadline = self.now() + seconds
        next_note = self.now() + 5
        while not reached():
            self.check_stop()
            now = self.now()
            if now > deadline:
                raise failure()
            if note is not None and now > next_note:
                self.say("  " + note())
                next_note = now + 5
            self.rest(every)


__all__ = ["Context", "CouldNotCheck", "CutoverError", "Evidence", "Interrupted", "StepFailed", "utc_now"]
