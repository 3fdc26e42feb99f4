"""Where routes live, how adapters make themselves known, and who may switch: the interfaces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from contracts.backups import BackupNote
from contracts.registry import AdapterRecord, Bulletin, Tail
from contracts.routes import Route
from contracts.stages import Component


class RouteError(Exception):
    """The root of errors about routes."""


class RouteUnavailable(RouteError):
    """The store does not answer. Adapters go on with the last route they know. `status` and `said`: of an answer that
    is none, by HTTP; 0 where nothing came."""

    def __init__(self, message: str, *, status: int = 0, said: str = "") -> None:
        super().__init__(message)
        self.status, self.said = status, said


class RouteConflict(RouteError):
    """Somebody else wrote the route meanwhile: nothing was written."""


class RouteMissing(RouteError):
    """The route's record does not exist: `pulumi up` makes it."""


class LockHeld(RouteError):
    """Another switch of this component is under way."""

    def __init__(self, component: Component, holder: str, since: str) -> None:
        super().__init__(
            f"a switch of {component.value} is already under way: {holder} holds the lock since {since}. "
            "Nothing was changed. Wait for it to end (crossover status shows it), then run pulumi up again"
        )
        self.holder = holder
        self.since = since


@dataclass(frozen=True, slots=True)
class Versioned:
    """A route as read, with the token that a compare-and-set needs. `route` is None where the
    record exists and nothing was written to it yet."""

    route: Route | None
    version: str


class RouteStore(ABC):
    """Reads, watches and (for a cutover) writes the route of a component."""

    @abstractmethod
    def read(self, component: Component) -> Versioned:
        """Raises RouteMissing, RouteUnavailable."""

    @abstractmethod
    def write(self, route: Route, version: str) -> Versioned:
        """Write `route` if the record is still at `version`.

        Raises RouteConflict, RouteMissing, RouteUnavailable.
        """

    @abstractmethod
    def watch(self, component: Component, changed: Callable[[Route], None], stopped: Callable[[], bool]) -> None:
        """Call `changed` with the route now and at each change, until `stopped()`; blocks.

        Outages of the store are waited out; a change made meanwhile is delivered after.
        """


class AdapterRegistry(ABC):
    """The adapters that are alive, as each says of itself."""

    @abstractmethod
    def announce(
        self,
        component: Component,
        name: str,
        role: str,
        acknowledged_epoch: int,
        lag: Mapping[str, int] | None = None,
        stranded: Mapping[str, Tail] | None = None,
        status: Mapping[str, str] | None = None,
    ) -> None:
        """Create or renew the record of adapter `name`; `lag` in events by `topic/group`, `stranded` by topic, `status`
        as its role has it.

        Raises RouteUnavailable.
        """

    @abstractmethod
    def withdraw(self, component: Component, name: str) -> None:
        """Remove the record of adapter `name`; no error where there is none or the store is away."""

    @abstractmethod
    def records(self, component: Component) -> Sequence[AdapterRecord]:
        """All records, live or not. Raises RouteUnavailable."""

    @abstractmethod
    def present(self, component: Component) -> frozenset[str]:
        """The pods that may hold an adapter and are not gone yet, leaving ones included."""


class Bulletins(ABC):
    """What those tell of themselves that work beside the adapters: no fence waits for them."""

    @abstractmethod
    def post(self, component: Component, name: str, status: Mapping[str, str]) -> None:
        """Tell `status` of `name`, in place of what it told before. Raises RouteUnavailable."""

    @abstractmethod
    def posted(self, component: Component) -> Sequence[Bulletin]:
        """All that was told, by the live and by others. Raises RouteUnavailable."""


class SwitchLock(ABC):
    """One switch a component at a time.

    `owner` is whose run it is, the same for all runs of one stack's state. Pulumi lets a stack do one update
    at a time, so a run that finds another of its own owner has come after an update that was cut off: it asks
    the older one to give way, and waits. Without an owner, and between owners, the first one keeps the lock.
    """

    @abstractmethod
    def acquire(self, component: Component, holder: str, wait: float, owner: str = "") -> None:
        """Take the lock, waiting up to `wait` s for a holder that no longer renews or was asked to give way.

        Raises LockHeld, RouteUnavailable.
        """

    @abstractmethod
    def renew(self, component: Component, holder: str) -> str | None:
        """Say that `holder` goes on; the newer run that asked it to give way, if one did.

        Raises LockHeld where the lock was lost to another holder, RouteUnavailable.
        """

    @abstractmethod
    def release(self, component: Component, holder: str) -> None:
        """Give the lock back if `holder` still has it."""


class BackupNotes(ABC):
    """What is known of the last backup of the database."""

    @abstractmethod
    def read(self) -> BackupNote | None:
        """The last one; None where there is none. Raises RouteMissing, RouteUnavailable, RouteError."""

    @abstractmethod
    def write(self, note: BackupNote) -> None:
        """Put `note` in its place. Raises RouteMissing, RouteUnavailable."""


@dataclass(frozen=True, slots=True)
class Permission:
    """A right in the backend's namespace: `verb` on `resource` of API `group`; `name` "": on any of them."""

    verb: str
    resource: str
    group: str = ""
    name: str = ""

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {resource}{f' {self.name}' if self.name else ''}"


class ClusterAccess(ABC):
    """What the store says of this process: which rights it has, and what time it is."""

    @abstractmethod
    def allows(self, permission: Permission) -> bool:
        """Whether this process has that right. Raises RouteUnavailable where that may not be asked."""

    @abstractmethod
    def clock_ahead(self) -> tuple[float, float]:
        """How far the store's clock is ahead of this process's, and to within how much, in seconds.

        Raises RouteUnavailable.
        """


@dataclass(frozen=True, slots=True)
class GpuNode:
    """A node with GPUs: how many it lets pods have, whoever has them now, and the memory of each in GiB; None where the
    node does not say."""

    name: str
    gpus: int
    gib: float | None


class ClusterNodes(ABC):
    """The nodes of the cluster."""

    @abstractmethod
    def with_gpus(self) -> Sequence[GpuNode]:
        """Those that have GPUs to give, and take pods. Raises RouteUnavailable."""
