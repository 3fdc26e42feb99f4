"""The lock of a switch as a Lease."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from adapters.routes.base import LockHeld, RouteConflict, RouteError, RouteMissing, SwitchLock
from adapters.routes.kubernetes import REQUEST_SECONDS, client, connect, micro, now, translated
from contracts import names
from contracts.registry import LEASE_SECONDS
from contracts.stages import Component

_log = logging.getLogger(__name__)
_OWNER = "crossover.dev/owner"
_WANTED_BY = "crossover.dev/wanted-by"
"""On the Lease of a switch: whose run holds it, and the newer run of the same owner that asks for it."""
_RELEASE_ATTEMPTS = 5


class KubernetesLock(SwitchLock):
    """A Lease `crossover-switch-<component>`, taken by compare-and-set on its resourceVersion.

    Whether a holder still renews is judged by watching its record stand still for LEASE_SECONDS on
    this process's own clock, as client-go's leader election does: clocks of two machines are never compared.
    One whose pod has ended is not waited for.
    """

    def __init__(self, namespace: str = names.NAMESPACE, api: client.ApiClient | None = None) -> None:
        self._namespace = namespace
        api = api or connect()
        self._leases: Any = client.CoordinationV1Api(api)
        self._core: Any = client.CoreV1Api(api)

    def acquire(self, component: Component, holder: str, wait: float, owner: str = "") -> None:
        clock = _Stillness()
        tick = threading.Event()
        waited = 0.0
        while True:
            lease = self._read(component)
            current = lease.spec.holder_identity if lease is not None else None
            waits = current and current != holder and not clock.still(lease, LEASE_SECONDS)
            if current and waits and not self._ended(current):
                with contextlib.suppress(RouteConflict):
                    self._ask_to_give_way(lease, holder, owner)
                if waited >= wait:
                    raise LockHeld(component, current, _told(lease.spec.acquire_time))
                tick.wait(0.5)  # a holder renews at least every RENEW_SECONDS; nothing announces its death
                waited += 0.5
                continue
            with contextlib.suppress(RouteConflict):
                self._take(component, holder, lease, {_OWNER: owner, _WANTED_BY: None})
                return

    def _ended(self, holder: str) -> bool:
        """Whether `holder` is a pod whose containers the kubelet has seen to end: it writes no more. One that is gone
        may live on, on a node that nobody reaches."""
        with contextlib.suppress(RouteError), translated("pods"):
            found = self._core.list_namespaced_pod(
                self._namespace, field_selector=f"metadata.name={holder}", _request_timeout=REQUEST_SECONDS
            )
            statuses = [status for pod in found.items for status in pod.status.container_statuses or ()]
            return bool(statuses) and all(status.state.terminated is not None for status in statuses)
        return False

    def renew(self, component: Component, holder: str) -> str | None:
        lease = self._read(component)
        if lease is None or lease.spec.holder_identity != holder:
            raise LockHeld(component, lease.spec.holder_identity if lease else "nobody", "an unknown time")
        self._take(component, holder, lease, {})
        wanted_by: str | None = _notes(lease).get(_WANTED_BY)
        return wanted_by

    def _ask_to_give_way(self, lease: Any, holder: str, owner: str) -> None:
        notes = _notes(lease)
        if owner and owner == notes.get(_OWNER) and notes.get(_WANTED_BY) != holder:
            self._patch(lease, {"metadata": {"annotations": {_WANTED_BY: holder}}})

    def release(self, component: Component, holder: str) -> None:
        for _ in range(_RELEASE_ATTEMPTS):
            try:
                self._delete(component, holder)
            except RouteConflict:
                continue  # somebody asked for it in this very moment
            except RouteError as error:
                _log.warning("the switch lock was not given back, it runs out by itself: %s", error)
            return
        _log.warning(
            "the switch lock was not given back, it runs out by itself: it was changed in each of %d attempts",
            _RELEASE_ATTEMPTS,
        )

    def _delete(self, component: Component, holder: str) -> None:
        lease = self._read(component)
        if lease is None or lease.spec.holder_identity != holder:
            return
        condition = client.V1Preconditions(resource_version=lease.metadata.resource_version)
        with translated("switch lock"):
            self._leases.delete_namespaced_lease(
                lease.metadata.name,
                self._namespace,
                body=client.V1DeleteOptions(preconditions=condition),
                _request_timeout=REQUEST_SECONDS,
            )

    def _read(self, component: Component) -> Any:
        try:
            with translated("switch lock"):
                return self._leases.read_namespaced_lease(
                    f"crossover-switch-{component.slug}", self._namespace, _request_timeout=REQUEST_SECONDS
                )
        except RouteMissing:
            return None

    def _take(self, component: Component, holder: str, lease: Any, notes: Mapping[str, str | None]) -> None:
        moment = micro(now())
        same = lease is not None and lease.spec.holder_identity == holder and lease.spec.acquire_time is not None
        spec = {
            "holderIdentity": holder,
            "acquireTime": micro(lease.spec.acquire_time) if same else moment,
            "renewTime": moment,
            "leaseDurationSeconds": LEASE_SECONDS,
        }
        if lease is not None:
            self._patch(lease, {"metadata": {"annotations": dict(notes)}, "spec": spec})
            return
        made = {key: value for key, value in notes.items() if value is not None}
        metadata = {"name": f"crossover-switch-{component.slug}", "annotations": made}
        with translated("switch lock"):
            self._leases.create_namespaced_lease(
                self._namespace, {"metadata": metadata, "spec": spec}, _request_timeout=REQUEST_SECONDS
            )

    def _patch(self, lease: Any, body: dict[str, Any]) -> None:
        """Compare-and-set against the version that `lease` was read at. Raises RouteConflict."""
        body["metadata"]["resourceVersion"] = lease.metadata.resource_version
        with translated("switch lock"):
            self._leases.patch_namespaced_lease(
                lease.metadata.name, self._namespace, body, _request_timeout=REQUEST_SECONDS
            )


def _notes(lease: Any) -> dict[str, str]:
    return lease.metadata.annotations or {}


def _told(moment: datetime | None) -> str:
    """A time for people, RFC 3339 UTC to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else "an unknown time"


class _Stillness:
    """Whether a record has stood still for a while, on the local monotonic clock."""

    def __init__(self) -> None:
        self._version = ""
        self._since = 0.0

    def still(self, lease: Any, seconds: float) -> bool:
        version = lease.metadata.resource_version
        if version != self._version:
            self._version, self._since = version, time.monotonic()
        return time.monotonic() - self._since > seconds
