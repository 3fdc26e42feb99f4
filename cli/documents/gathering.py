"""Asks for what the documents tell. What cannot be had is a gap, and the rest is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from adapters.routes.base import RouteError, RouteMissing, RouteStore
from cli.documents.model import Address, Container, Standing, Volume, Workload
from contracts.routes import Route
from contracts.stages import Component, Stage, deployed_backends

Listed = Callable[[str], Sequence[Mapping[str, Any]]]
"""The objects at a path of the API server, as it lists them. Raises RouteError."""
KINDS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
}
SERVICES = "/api/v1/namespaces/{}/services"
CLAIMS = "/api/v1/namespaces/{}/persistentvolumeclaims"


def standings(store: RouteStore, wanted: Mapping[Component, Stage], gaps: list[str]) -> tuple[Standing, ...]:
    """Where each component stands."""
    return tuple(_standing(component, store, wanted[component], gaps) for component in Component)


def _standing(component: Component, store: RouteStore, wanted: Stage, gaps: list[str]) -> Standing:
    route: Route | None = None
    try:
        route = store.read(component).route
    except RouteMissing:
        pass
    except RouteError as error:
        gaps.append(f"the route of {component.value} could not be read: {error}")
        return Standing(component, wanted.value, "not known", "not known", "not known", "not known")
    if route is None:
        return Standing(component, wanted.value, "not deployed", "nobody", "nothing", "-")
    there = ", ".join(sorted(deployed_backends(component, route.stage)))
    return Standing(component, wanted.value, route.stage.value, route.active, there, str(route.epoch))


def workloads(listed: Listed, namespaces: Sequence[str], gaps: list[str]) -> tuple[Workload, ...]:
    """What runs in `namespaces`. Jobs are not among it: they come and go."""
    found = []
    for namespace in namespaces:
        for kind, path in KINDS.items():
            found += [_workload(kind, namespace, one) for one in _asked(listed, path.format(namespace), gaps)]
    return tuple(sorted(found))


def _workload(kind: str, namespace: str, found: Mapping[str, Any]) -> Workload:
    spec = found["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if kind == "CronJob" else spec["template"]
    pod = template["spec"]
    runs = f"{spec['schedule']} (UTC)" if kind == "CronJob" else str(spec.get("replicas", 1))
    containers = [_container(one) for one in [*pod.get("initContainers", ()), *pod["containers"]]]
    return Workload(namespace, kind, found["metadata"]["name"], runs, tuple(containers))


def _container(found: Mapping[str, Any]) -> Container:
    resources = found.get("resources") or {}
    return Container(
        found["name"], found["image"], _amounts(resources.get("requests")), _amounts(resources.get("limits"))
    )


def _amounts(stated: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {amount}" for name, amount in sorted((stated or {}).items()))


def addresses(listed: Listed, namespaces: Sequence[str], gaps: list[str]) -> tuple[Address, ...]:
    """The Services of `namespaces`."""
    found = []
    for namespace in namespaces:
        for one in _asked(listed, SERVICES.format(namespace), gaps):
            ports = tuple((str(port.get("name", "")), int(port["port"])) for port in one["spec"].get("ports", ()))
            headless = one["spec"].get("clusterIP") == "None"
            found.append(Address(namespace, one["metadata"]["name"], ports, headless))
    return tuple(sorted(found))


def volumes(listed: Listed, namespaces: Sequence[str], gaps: list[str]) -> tuple[Volume, ...]:
    """The claims of `namespaces`."""
    found = []
    for namespace in namespaces:
        for one in _asked(listed, CLAIMS.format(namespace), gaps):
            spec = one["spec"]
            size = str(spec["resources"]["requests"]["storage"])
            found.append(
                Volume(namespace, one["metadata"]["name"], size, spec.get("storageClassName") or "the default")
            )
    return tuple(sorted(found))


def _asked(listed: Listed, path: str, gaps: list[str]) -> Iterator[Mapping[str, Any]]:
    try:
        yield from listed(path)
    except RouteError as error:
        gaps.append(f"{path} could not be listed: {error}")
