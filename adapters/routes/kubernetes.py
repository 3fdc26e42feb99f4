"""Routes as ConfigMaps, adapters as Leases. The one module that imports `kubernetes`; for the lock, too."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import urllib3
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.utils.quantity import parse_quantity
from pydantic import ValidationError

from adapters.routes.base import (
    AdapterRegistry,
    Bulletins,
    RouteConflict,
    RouteError,
    RouteMissing,
    RouteStore,
    RouteUnavailable,
    Versioned,
)
from contracts import names
from contracts.registry import (
    ANNOTATION_EPOCH,
    ANNOTATION_LAG,
    ANNOTATION_ROLE,
    ANNOTATION_STATUS,
    ANNOTATION_STRANDED,
    ANNOTATION_VERSION,
    LABEL_ADAPTER,
    LABEL_BESIDE,
    LEASE_SECONDS,
    PROTOCOL_VERSION,
    AdapterRecord,
    Bulletin,
    Tail,
)
from contracts.routes import ROUTE_KEY, Route, route_name
from contracts.stages import Component

__all__ = [
    "REQUEST_SECONDS",
    "KubernetesRegistry",
    "KubernetesRouteStore",
    "client",
    "connect",
    "micro",
    "now",
    "parse_quantity",
    "translated",
]

_log = logging.getLogger(__name__)
# The client's models are typed as if every field could be None, and parts of it not at all.
_load_incluster: Any = config.load_incluster_config
_load_kubeconfig: Any = config.load_kube_config
_Watch: Any = watch.Watch
REQUEST_SECONDS = 5.0
_WATCH_SECONDS = 60


def connect(context: str | None = None) -> client.ApiClient:
    """A client from the pod's service account, or else from the kubeconfig (and `context`).

    Raises RouteUnavailable where there is neither.
    """
    configuration = client.Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and context is None:
            _load_incluster(client_configuration=configuration)
        else:
            # The library looks at KUBECONFIG once, when it is imported.
            named = os.environ.get("KUBECONFIG") or None
            _load_kubeconfig(config_file=named, context=context, client_configuration=configuration)
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
        raise RouteUnavailable(
            f"{what}: the API server answered {error.status} {error.reason}",
            status=error.status or 0, said=str(error.body or ""),
        ) from error  # fmt: skip
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise RouteUnavailable(f"{what}: the API server does not answer ({error.__class__.__name__})") from error


def now() -> datetime:
    return datetime.now(UTC)


class KubernetesRouteStore(RouteStore):
    """Routes in ConfigMaps `crossover-route-<component>` of one namespace."""

    def __init__(self, namespace: str = names.NAMESPACE, api: client.ApiClient | None = None) -> None:
        self._namespace = namespace
        self._core: Any = client.CoreV1Api(api or connect())

    def read(self, component: Component) -> Versioned:
        name = route_name(component)
        with translated(f"route {self._namespace}/{name}"):
            found = self._core.read_namespaced_config_map(name, self._namespace, _request_timeout=REQUEST_SECONDS)
        return Versioned(_parse(found.data, name), found.metadata.resource_version)

    def write(self, route: Route, version: str) -> Versioned:
        name = route_name(route.component)
        body = {
            "metadata": {"resourceVersion": version},
            "data": {ROUTE_KEY: route.model_dump_json(exclude_none=True)},
        }
        with translated(f"route {self._namespace}/{name}"):
            written = self._core.patch_namespaced_config_map(
                name, self._namespace, body, field_manager="crossover-cutover", _request_timeout=REQUEST_SECONDS
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
                self._namespace, field_selector=f"metadata.name={name}", _request_timeout=REQUEST_SECONDS
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
                _request_timeout=(REQUEST_SECONDS, _WATCH_SECONDS + REQUEST_SECONDS),
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


class KubernetesRegistry(AdapterRegistry, Bulletins):
    """Adapter records and bulletins as Leases, each owned by its pod so that it goes with it."""

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
        status: Mapping[str, str] | None = None,
    ) -> None:
        annotations = {
            ANNOTATION_EPOCH: str(acknowledged_epoch),
            ANNOTATION_ROLE: role,
            ANNOTATION_VERSION: str(PROTOCOL_VERSION),
            ANNOTATION_LAG: json.dumps(dict(lag or {})),
            ANNOTATION_STRANDED: json.dumps({topic: astuple(tail) for topic, tail in (stranded or {}).items()}),
            ANNOTATION_STATUS: json.dumps(dict(status or {})),
        }
        self._put(_lease_name(component, name), name, {LABEL_ADAPTER: component.slug}, annotations)

    def post(self, component: Component, name: str, status: Mapping[str, str]) -> None:
        full = f"beside-{component.slug}-{name}"
        self._put(full, name, {LABEL_BESIDE: component.slug}, {ANNOTATION_STATUS: json.dumps(dict(status))})

    def _put(self, full: str, name: str, labels: dict[str, str], annotations: dict[str, str]) -> None:
        """Create or renew the Lease `full` of `name`."""
        spec = {"holderIdentity": name, "renewTime": micro(now()), "leaseDurationSeconds": LEASE_SECONDS}
        with translated(f"record {full}"):
            if full in self._known:
                try:
                    self._leases.patch_namespaced_lease(
                        full,
                        self._namespace,
                        {"metadata": {"annotations": annotations}, "spec": spec},
                        _request_timeout=REQUEST_SECONDS,
                    )
                    return
                except ApiException as error:
                    if error.status != 404:
                        raise
            self._create(full, labels, annotations, spec)
        self._known.add(full)

    def _create(self, full: str, labels: dict[str, str], annotations: dict[str, str], spec: dict[str, Any]) -> None:
        metadata: dict[str, Any] = {"name": full, "labels": labels, "annotations": annotations}
        pod, uid = os.environ.get(names.ENV_POD_NAME), os.environ.get(names.ENV_POD_UID)
        if pod and uid:
            metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}]
        try:
            self._leases.create_namespaced_lease(
                self._namespace, {"metadata": metadata, "spec": spec}, _request_timeout=REQUEST_SECONDS
            )
        except ApiException as error:
            if error.status != 409:
                raise
            self._leases.patch_namespaced_lease(
                full, self._namespace, {"metadata": metadata, "spec": spec}, _request_timeout=REQUEST_SECONDS
            )

    def withdraw(self, component: Component, name: str) -> None:
        full = _lease_name(component, name)
        with contextlib.suppress(RouteError), translated(f"adapter record {full}"):
            self._leases.delete_namespaced_lease(full, self._namespace, _request_timeout=REQUEST_SECONDS)

    def records(self, component: Component) -> Sequence[AdapterRecord]:
        found, moment = self._listed(LABEL_ADAPTER, component), now()
        return [_record(lease, moment) for lease in found]

    def posted(self, component: Component) -> Sequence[Bulletin]:
        found, moment = self._listed(LABEL_BESIDE, component), now()
        return [
            Bulletin(
                lease.spec.holder_identity or lease.metadata.name,
                json.loads((lease.metadata.annotations or {}).get(ANNOTATION_STATUS, "{}")),
                _age(lease, moment),
            )
            for lease in found
        ]

    def _listed(self, label: str, component: Component) -> Sequence[Any]:
        with translated(f"records of {component.value}"):
            found = self._leases.list_namespaced_lease(
                self._namespace, label_selector=f"{label}={component.slug}", _request_timeout=REQUEST_SECONDS
            )
        listed: Sequence[Any] = found.items
        return listed

    def present(self, component: Component) -> frozenset[str]:
        with translated("pods with adapters"):
            found = self._core.list_namespaced_pod(
                self._namespace,
                label_selector=f"{LABEL_ADAPTER}={component.slug}",
                _request_timeout=REQUEST_SECONDS,
            )
        return frozenset(
            pod.metadata.name for pod in found.items if (pod.status.phase or "") not in ("Succeeded", "Failed")
        )


def _record(lease: Any, now: datetime) -> AdapterRecord:
    notes = lease.metadata.annotations or {}
    return AdapterRecord(
        name=lease.spec.holder_identity or lease.metadata.name,
        role=notes.get(ANNOTATION_ROLE, "unknown"),
        acknowledged_epoch=int(notes.get(ANNOTATION_EPOCH, "0")),
        protocol_version=int(notes.get(ANNOTATION_VERSION, "0")),
        age_seconds=_age(lease, now),
        lag=json.loads(notes.get(ANNOTATION_LAG, "{}")),
        clock_ahead=_clock_ahead(lease),
        stranded={t: Tail(*tail) for t, tail in json.loads(notes.get(ANNOTATION_STRANDED, "{}")).items()},
        status=json.loads(notes.get(ANNOTATION_STATUS, "{}")),
    )


def _age(lease: Any, now: datetime) -> float:
    renewed = lease.spec.renew_time
    return float((now - renewed).total_seconds()) if renewed else float("inf")


def _clock_ahead(lease: Any) -> float | None:
    """What the adapter wrote as the time of its renewal, against when the API server was told, to the second."""
    told = [entry.time for entry in lease.metadata.managed_fields or [] if entry.time is not None]
    if not told or lease.spec.renew_time is None:
        return None
    return float((lease.spec.renew_time - max(told)).total_seconds()) - 0.5


def _lease_name(component: Component, name: str) -> str:
    return f"adapter-{component.slug}-{name}"


def micro(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
