"""Asks the cluster for what the console shows: one thread, once a second, however many look at it. What cannot be read
stays as it was read last, with why and since when."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from adapters.routes.audit import AuditLog
from adapters.routes.base import AdapterRegistry, Bulletins, RouteError, RouteMissing, RouteStore
from cli.console.picture import Line, Picture, Run, Sample, Shown, behind, line_of, paces, run_of, stalls
from cli.errors import CliError
from cli.status import ComponentStatus, gather
from contracts.audit import moment
from contracts.stages import Component, Stage
from cutover.tables import TABLES

EVERY_SECONDS = 1.0
SLOWLY_SECONDS = 5.0
"""How often the audit log and the Transitions' Jobs are asked: each answer is large."""
LOG_ENTRIES = 60
_SAMPLES = 60
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What config asks for, and after how many hours a comparison is stale."""

    stages: Mapping[Component, Stage]
    limits: Mapping[Component, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where all is asked. `wanted` raises CliError; `job` gives a component's last Transition, `said` the phase and the
    output of a Job's pod, by the Job's name and the container's."""

    wanted: Callable[[], Wanted]
    store: RouteStore
    registry: AdapterRegistry
    bulletins: Bulletins
    log: AuditLog
    job: Callable[[Component], dict[str, Any]]
    said: Callable[[str, str], tuple[str, str]]


class Reader:
    """Keeps the last picture. `clock`: seconds, monotonic."""

    def __init__(
        self, sources: Sources, stack: str, *, every: float = EVERY_SECONDS, slowly: float = SLOWLY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._sources, self._stack = sources, stack
        self._every, self._slowly, self._clock = every, slowly, clock
        self._wanted = Wanted(dict.fromkeys(Component, Stage.MVP))
        self._seen: dict[Component, tuple[Shown, float]] = {}
        self._samples = {component: deque[Sample](maxlen=_SAMPLES) for component in Component}
        self._lines: tuple[Line, ...] = ()
        self._stalls: dict[Component, str] = {}
        self._runs: dict[Component, Run] = {}
        self._looked_slowly: float | None = None
        self._slow_troubles: list[str] = []
        self._picture = Picture(stack=stack, at=moment(datetime.now(UTC)), components=())
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="console", daemon=True)

    def start(self) -> None:
        """Look once, then go on looking."""
        self._thread.start()

    def stop(self) -> None:
        """End, without waiting for a cluster that does not answer."""
        self._stopped.set()
        self._thread.join(self._every)

    @property
    def picture(self) -> Picture:
        """The last one."""
        return self._picture

    @property
    def age(self) -> float | None:
        """Seconds since the component that was read longest ago was read; None where one never was."""
        seen = [self._seen[component][1] for component in Component if component in self._seen]
        return max(self._clock() - min(seen), 0.0) if len(seen) == len(Component) else None

    def _work(self) -> None:
        while not self._stopped.is_set():
            self.look()
            self._stopped.wait(self._every)

    def look(self) -> None:
        """One round. Raises nothing: what goes wrong is shown."""
        troubles: list[str] = []
        try:
            self._wanted = self._sources.wanted()
        except CliError as error:
            troubles.append(f"config: {error}")
        try:
            shown = self._components()
            # Who asks a cluster that does not answer for more sees it come back the later.
            if not all(one.trouble for one in shown):
                self._look_slowly()
        except Exception as error:  # a defect of ours must be seen, and not as a picture that stands still
            _log.exception("the state could not be read")
            self._picture = self._picture.model_copy(update={"troubles": (f"{type(error).__name__}: {error}",)})
            return
        made = Picture(
            stack=self._stack, at=moment(datetime.now(UTC)), components=tuple(shown), log=self._lines,
            troubles=(*troubles, *self._slow_troubles),
        )  # fmt: skip
        self._picture = made

    def _components(self) -> list[Shown]:
        asked = self._sources
        rows = gather(self._wanted.stages, asked.store, asked.registry, asked.bulletins, self._wanted.limits)
        return [self._component(row) for row in rows]

    def _component(self, row: ComponentStatus) -> Shown:
        """It, as it was read now; else as it was read last, with why."""
        component, now = row.component, self._clock()
        about = {"stall": self._stalls.get(component, ""), "run": self._runs.get(component)}
        if row.state == "unknown":
            last = self._seen[component][0] if component in self._seen else Shown(status=row, seen="")
            return last.model_copy(update={"trouble": row.note, **about})
        samples = self._samples[component]
        samples.append(Sample(now, behind(row)))
        told = {"status": row, "seen": moment(datetime.now(UTC)), "paces": paces(samples)}
        shown = Shown.model_validate({**told, **about})
        self._seen[component] = shown, now
        return shown

    def _look_slowly(self) -> None:
        now = self._clock()
        if self._looked_slowly is not None and now - self._looked_slowly < self._slowly:
            return
        self._slow_troubles = []
        try:
            entries = list(islice(self._sources.log.latest(), LOG_ENTRIES))
            self._lines = tuple(line_of(entry) for entry in entries)
            self._stalls |= stalls(entries[::-1])
        except RouteError as error:
            self._slow_troubles.append(f"audit log: {error}")
        self._runs = {component: run for component in TABLES if (run := self._run(component)) is not None}
        self._looked_slowly = self._clock()

    def _run(self, component: Component) -> Run | None:
        """What the component's Transition writes, while it is under way."""
        try:
            job = self._sources.job(component)
            if not job.get("status", {}).get("active"):
                return None
            name = str(job["metadata"]["name"])
            phase, output = self._sources.said(name, str(job["spec"]["template"]["spec"]["containers"][0]["name"]))
        except RouteMissing:
            return None
        except RouteError as error:
            self._slow_troubles.append(f"Transition of {component.value}: {error}")
            return None
        return run_of(name, output) if phase == "Running" else None
