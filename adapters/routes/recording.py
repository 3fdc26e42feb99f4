"""Appends to the audit log aside: who notes something goes on at once, and no failure of the log becomes theirs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from adapters.routes.audit import AuditLog
from adapters.routes.base import RouteError
from contracts.audit import Entry, Kind, moment, plain
from contracts.stages import Component

CLOSE_SECONDS = 5.0
"""How long the end of a run waits for what is not appended yet: so much slower it may get by a log that is away."""
_PAUSE_SECONDS = 1.0
_LOOKED_AT = 200
"""Entries, among which one is looked for that may have been appended though its append failed."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What is to be appended."""

    kind: str
    component: str
    actor: str
    data: Mapping[str, Any]

    def same(self, entry: Entry) -> bool:
        """Whether `entry` is this, for `data` says to the millisecond when it happened."""
        told = (entry.kind, entry.component, entry.actor, entry.data)
        return told == (self.kind, self.component, self.actor, plain(self.data))


type Lacking = Callable[[AuditLog], Sequence[Noted]]
"""What the log lacks; it is asked for aside, too. Raises RouteError."""


class Recorder:
    """Notes of one process, in the order in which they are made. `opened` gives the log, and may raise RouteError;
    None: notes go nowhere. `actor`: who does what is noted; `always` is in the data of each note."""

    def __init__(
        self, opened: Callable[[], AuditLog] | None = None, actor: str = "", always: Mapping[str, Any] | None = None
    ) -> None:
        self._opened = opened
        self._actor = actor
        self._always = dict(always or {})
        self._tasks: queue.Queue[Noted | Lacking | None] = queue.Queue()
        self._left: list[Noted | Lacking] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._log: AuditLog | None = None
        self.trouble = ""
        """Why the log could not be written, last."""

    def note(self, kind: Kind, component: Component | None, data: Mapping[str, Any]) -> None:
        """Have it appended. `data` may say, as `at`, when it happened; else that is now."""
        self.add(self.noted(kind, component, data))

    def noted(self, kind: Kind, component: Component | None, data: Mapping[str, Any]) -> Noted:
        """What `note` has appended."""
        told = {"at": moment(datetime.now(UTC)), **self._always, **data}
        return Noted(kind.value, component.value if component is not None else "", self._actor, told)

    def add(self, task: Noted | Lacking) -> None:
        """Have it appended as it is."""
        if self._opened is None:
            return
        with self._lock:
            self._left.append(task)
        self._tasks.put(task)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
            self._thread.start()

    def close(self, seconds: float = CLOSE_SECONDS) -> tuple[Noted, ...]:
        """Wait so long at most for what is not appended yet; what was not. `trouble` says why."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join(seconds)
            self._ended.set()
            self._thread = None
        with self._lock:
            left = tuple(self._left)
        if left and not self.trouble:
            self.trouble = f"the Kubernetes API took longer than {seconds:g} s"
        return tuple(one for one in left if isinstance(one, Noted))

    @property
    def complete(self) -> bool:
        """Whether all was appended, once it is closed."""
        return not self._left

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            again = False
            while not self._ended.is_set():
                try:
                    self._do(task, again)
                    with self._lock:
                        self._left.remove(task)
                    break
                except RouteError as error:
                    self.trouble, again = str(error), True
                    self._ended.wait(_PAUSE_SECONDS)
                except Exception as error:  # a defect of ours must not end a run either
                    self.trouble = f"{type(error).__name__}: {error}"
                    break

    def _do(self, task: Noted | Lacking, again: bool) -> None:
        assert self._opened is not None  # noqa: S101 - nothing is added otherwise
        log = self._log = self._log or self._opened()
        if not isinstance(task, Noted):
            for noted in task(log):
                log.append(noted.kind, noted.component, noted.actor, noted.data)
        elif not (again and any(task.same(entry) for entry in islice(log.latest(), _LOOKED_AT))):
            log.append(task.kind, task.component, task.actor, task.data)


__all__ = ["CLOSE_SECONDS", "Lacking", "Noted", "Recorder"]
