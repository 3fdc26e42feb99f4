"""Routes: the interfaces and their backends. Import the backend's module where it is needed."""

from adapters.routes.base import (
    AdapterRegistry,
    ClusterAccess,
    LockHeld,
    Permission,
    RouteConflict,
    RouteError,
    RouteMissing,
    RouteStore,
    RouteUnavailable,
    SwitchLock,
    Versioned,
)

__all__ = [
    "AdapterRegistry",
    "ClusterAccess",
    "LockHeld",
    "Permission",
    "RouteConflict",
    "RouteError",
    "RouteMissing",
    "RouteStore",
    "RouteUnavailable",
    "SwitchLock",
    "Versioned",
]
