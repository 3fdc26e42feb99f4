"""Routes as ConfigMaps, adapters and locks as Leases. The one module that imports `kubernetes`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import urllib3
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from pydantic import ValidationError

from adapters.routes.base import (
    AdapterRegistry,
    LockHeld,
    RouteConflict,
    RouteError,
    RouteMissing,
    RouteStore,
    RouteUnavailable,
    SwitchLock,
    Versioned,
)
from contracts import names
from contracts.registry import (
    ANNOTATION_EPOCH,
    ANNOTATION_LAG,
    ANNOTATION_ROLE,
    ANNOTATION_STRANDED,
    ANNOTATION_VERSION,
    LABEL_ADAPTER,
    LEASE_SECONDS,
    PROTOCOL_VERSION,
    AdapterRecord,
    Tail,
)
from contracts.routes import ROUTE_KEY, Route, route_name
from contracts.stages import Component

_log = logging.getLogger(__name__)
# The client's models are typed as if every field could be None, and parts of it not at all.
_load_incluster: Any = config.load_incluster_config
_load_kubeconfig: Any = config.load_kube_config
_Watch: Any = watch.Watch
_REQUEST_SECONDS = 5.0
_WATCH_SECONDS = 60
_OWNER = "crossover.dev/owner"
_WANTED_BY = "crossover.dev/wanted-by"
"""On the Lease of a switch: whose run holds it, and the newer run of the same owner that asks for it."""
_RELEASE_ATTEMPTS = 5


def connect(context: str | None = None) -> client.ApiClient:
    """A client from the pod's service account, or else from the kubeconfig (and `context`).

    Raises RouteUnavailable where there is neither.
    """
    configuration = client.Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and context is None:
            _load_incluster(client_configuration=configuration)
        else:
            _load_kubeconfig(context=context, client_configuration=configuration)
    except config.ConfigException as error:
        raise RouteUnavailable(f"no Kubernetes access: {error}. Set KUBECONFIG (or source .crossover/env)") from error
    # A route change must be seen at once or reported as an outage: no silent retries below us.
    configuration.retries = urllib3.Retry(total=0)
    return client.ApiClient(configuration)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns what the client raises into RouteConflict, RouteMissing or RouteUnavailable, naming `what`."""
    try:
        yield
    except ApiException as error:
        if error.status == 409:
            raise RouteConflict(f"{what}: changed by somebody else") from error
        if error.status == 404:
            raise RouteMissing(f"{what}: not found. pulumi up makes it") from error
        raise RouteUnavailable(f"{what}: the API server answered {error.status} {error.reason}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise RouteUnavailable(f"{what}: the API server does not answer ({error.__class__.__name__})") from error


def _now() -> datetime:
    return datetime.now(UTC)


class KubernetesRouteStore(RouteStore):
    """Routes in ConfigMaps `crossover-route-<component>` of one namespace."""

    def __init__(self, namespace: str = names.NAMESPACE, api: client.ApiClient | None = None) -> None:
        self._namespace = namespace
        self._core: Any = client.CoreV1Api(api or connect())

    def read(self, component: Component) -> Versioned:
        name = route_name(component)
        with translated(f"route {self._namespace}/{name}"):
            found = self._core.read_namespaced_config_map(name, self._namespace, _request_timeout=_REQUEST_SECONDS)
        return Versioned(_parse(found.data, name), found.metadata.resource_version)

    def write(self, route: Route, version: str) -> Versioned:
        name = route_name(route.component)
        body = {
            "metadata": {"resourceVersion": version},
            "data": {ROUTE_KEY: route.model_dump_json(exclude_none=True)},
        }
        with translated(f"route {self._namespace}/{name}"):
            written = self._core.patch_namespaced_config_map(
                name, self._namespace, body, field_manager="crossover-cutover", _request_timeout=_REQUEST_SECONDS
            )
        return Versioned(route, written.metadata.resource_version)

    def watch(self, component: Component, changed: Callable[[Route], None], stopped: Callable[[], bool]) -> None:
        name = route_name(component)
        pause = threading.Event()
        while not stopped():
            try:
                seen = self._tell(name, changed)
                for found in self._events(name, seen):
                    route = _parse(found.data, name)
                    if route is not None:
                        changed(route)
                    if stopped():
                        return
            except RouteError as error:
                _log.warning("route watch interrupted, going on with the last route: %s", error)
                pause.wait(0.5)  # between attempts to reach an API server that is away

    def _tell(self, name: str, changed: Callable[[Route], None]) -> str:
        """Tell the route as it is; the version to watch from. That of the list, not of the ConfigMap: a route
        that has not changed for long has a version that API servers forget (410 Expired)."""
        with translated(f"route {self._namespace}/{name}"):
            listed = self._core.list_namespaced_config_map(
                self._namespace, field_selector=f"metadata.name={name}", _request_timeout=_REQUEST_SECONDS
            )
        if not listed.items:
            raise RouteMissing(f"route {self._namespace}/{name}: not found. pulumi up makes it")
        route = _parse(listed.items[0].data, name)
        if route is not None:
            changed(route)
        return str(listed.metadata.resource_version)

    def _events(self, name: str, version: str) -> Iterator[Any]:
        stream = _Watch()
        with translated(f"watch of {name}"):
            for event in stream.stream(
                self._core.list_namespaced_config_map,
                self._namespace,
                field_selector=f"metadata.name={name}",
                resource_version=version,
                timeout_seconds=_WATCH_SECONDS,
                _request_timeout=(_REQUEST_SECONDS, _WATCH_SECONDS + _REQUEST_SECONDS),
            ):
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]
                else:
                    return


def _parse(data: dict[str, str] | None, name: str) -> Route | None:
    text = (data or {}).get(ROUTE_KEY)
    if not text:
        return None
    try:
        return Route.model_validate_json(text)
    except ValidationError as error:
        raise RouteError(
            f"ConfigMap {name} holds a route that this version cannot read ({error.error_count()} problems, first: "
            f"{error.errors()[0]['loc']} {error.errors()[0]['msg']}). It was edited by hand, or is a newer version's"
        ) from error


class KubernetesRegistry(AdapterRegistry):
    """Adapter records as Leases, each owned by its pod so that it goes with it."""

    def __init__(self, namespace: str = names.NAMESPACE, api: client.ApiClient | None = None) -> None:
        api = api or connect()
        self._namespace = namespace
        self._leases: Any = client.CoordinationV1Api(api)
        self._core: Any = client.CoreV1Api(api)
        self._known: set[str] = set()

    def announce(
        self,
        component: Component,
        name: str,
        role: str,
        acknowledged_epoch: int,
        lag: Mapping[str, int] | None = None,
        stranded: Mapping[str, Tail] | None = None,
    ) -> None:
        full = _lease_name(component, name)
        spec = {"holderIdentity": name, "renewTime": _micro(_now()), "leaseDurationSeconds": LEASE_SECONDS}
        annotations = {
            ANNOTATION_EPOCH: str(acknowledged_epoch),
            ANNOTATION_ROLE: role,
            ANNOTATION_VERSION: str(PROTOCOL_VERSION),
            ANNOTATION_LAG: json.dumps(dict(lag or {})),
            ANNOTATION_STRANDED: json.dumps({topic: astuple(tail) for topic, tail in (stranded or {}).items()}),
        }
        with translated(f"adapter record {full}"):
            if full in self._known:
                try:
                    self._leases.patch_namespaced_lease(
                        full,
                        self._namespace,
                        {"metadata": {"annotations": annotations}, "spec": spec},
                        _request_timeout=_REQUEST_SECONDS,
                    )
                    return
                except ApiException as error:
                    if error.status != 404:
                        raise
            self._create(full, component, annotations, spec)
        self._known.add(full)

    def _create(self, full: str, component: Component, annotations: dict[str, str], spec: dict[str, Any]) -> None:
        metadata: dict[str, Any] = {
            "name": full,
            "labels": {LABEL_ADAPTER: component.slug},
            "annotations": annotations,
        }
        pod, uid = os.environ.get(names.ENV_POD_NAME), os.environ.get(names.ENV_POD_UID)
        if pod and uid:
            metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}]
        try:
            self._leases.create_namespaced_lease(
                self._namespace, {"metadata": metadata, "spec": spec}, _request_timeout=_REQUEST_SECONDS
            )
        except ApiException as error:
            if error.status != 409:
                raise
            self._leases.patch_namespaced_lease(
                full, self._namespace, {"metadata": metadata, "spec": spec}, _request_timeout=_REQUEST_SECONDS
            )

    def withdraw(self, component: Component, name: str) -> None:
        full = _lease_name(component, name)
        with contextlib.suppress(RouteError), translated(f"adapter record {full}"):
            self._leases.delete_namespaced_lease(full, self._namespace, _request_timeout=_REQUEST_SECONDS)

    def records(self, component: Component) -> Sequence[AdapterRecord]:
        with translated("adapter records"):
            found = self._leases.list_namespaced_lease(
                self._namespace,
                label_selector=f"{LABEL_ADAPTER}={component.slug}",
                _request_timeout=_REQUEST_SECONDS,
            )
        now = _now()
        return [_record(lease, now) for lease in found.items]

    def present(self, component: Component) -> frozenset[str]:
        with translated("pods with adapters"):
            found = self._core.list_namespaced_pod(
                self._namespace,
                label_selector=f"{LABEL_ADAPTER}={component.slug}",
                _request_timeout=_REQUEST_SECONDS,
            )
        return frozenset(
            pod.metadata.name for pod in found.items if (pod.status.phase or "") not in ("Succeeded", "Failed")
        )


def _record(lease: Any, now: datetime) -> AdapterRecord:
    notes = lease.metadata.annotations or {}
    renewed = lease.spec.renew_time
    return AdapterRecord(
        name=lease.spec.holder_identity or lease.metadata.name,
        role=notes.get(ANNOTATION_ROLE, "unknown"),
        acknowledged_epoch=int(notes.get(ANNOTATION_EPOCH, "0")),
        protocol_version=int(notes.get(ANNOTATION_VERSION, "0")),
        age_seconds=(now - renewed).total_seconds() if renewed else float("inf"),
        lag=json.loads(notes.get(ANNOTATION_LAG, "{}")),
        clock_ahead=_clock_ahead(lease),
        stranded={t: Tail(*tail) for t, tail in json.loads(notes.get(ANNOTATION_STRANDED, "{}")).items()},
    )


def _clock_ahead(lease: Any) -> float | None:
    """What the adapter wrote as the time of its renewal, against when the API server was told, to the second."""
    told = [entry.time for entry in lease.metadata.managed_fields or [] if entry.time is not None]
    if not told or lease.spec.renew_time is None:
        return None
    return float((lease.spec.renew_time - max(told)).total_seconds()) - 0.5


def _lease_name(component: Component, name: str) -> str:
    return f"adapter-{component.slug}-{name}"


def _micro(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class KubernetesLock(SwitchLock):
    """A Lease `crossover-switch-<component>`, taken by compare-and-set on its resourceVersion.

    Whether a holder still renews is judged by watching its record stand still for LEASE_SECONDS on
    this process's own clock, as client-go's leader election does: clocks of two machines are never compared.
    """

    def __init__(self, namespace: str = names.NAMESPACE, api: client.ApiClient | None = None) -> None:
        self._namespace = namespace
        self._leases: Any = client.CoordinationV1Api(api or connect())

    def acquire(self, component: Component, holder: str, wait: float, owner: str = "") -> None:
        clock = _Stillness()
        tick = threading.Event()
        waited = 0.0
        while True:
            lease = self._read(component)
            current = lease.spec.holder_identity if lease is not None else None
            if lease is not None and current and current != holder and not clock.still(lease, LEASE_SECONDS):
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
                _request_timeout=_REQUEST_SECONDS,
            )

    def _read(self, component: Component) -> Any:
        try:
            with translated("switch lock"):
                return self._leases.read_namespaced_lease(
                    f"crossover-switch-{component.slug}", self._namespace, _request_timeout=_REQUEST_SECONDS
                )
        except RouteMissing:
            return None

    def _take(self, component: Component, holder: str, lease: Any, notes: Mapping[str, str | None]) -> None:
        now = _micro(_now())
        same = lease is not None and lease.spec.holder_identity == holder and lease.spec.acquire_time is not None
        spec = {
            "holderIdentity": holder,
            "acquireTime": _micro(lease.spec.acquire_time) if same else now,
            "renewTime": now,
            "leaseDurationSeconds": LEASE_SECONDS,
        }
        if lease is not None:
            self._patch(lease, {"metadata": {"annotations": dict(notes)}, "spec": spec})
            return
        made = {key: value for key, value in notes.items() if value is not None}
        metadata = {"name": f"crossover-switch-{component.slug}", "annotations": made}
        with translated("switch lock"):
            self._leases.create_namespaced_lease(
                self._namespace, {"metadata": metadata, "spec": spec}, _request_timeout=_REQUEST_SECONDS
            )

    def _patch(self, lease: Any, body: dict[str, Any]) -> None:
        """Compare-and-set against the version that `lease` was read at. Raises RouteConflict."""
        body["metadata"]["resourceVersion"] = lease.metadata.resource_version
        with translated("switch lock"):
            self._leases.patch_namespaced_lease(
                lease.metadata.name, self._namespace, body, _request_timeout=_REQUEST_SECONDS
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
