"""Asks for what the report shows. What cannot be had is told in its place: the rest is worth having."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from adapters.known import Unknown
from adapters.routes.audit import AuditLog
from adapters.routes.base import AdapterRegistry, Bulletins, RouteError, RouteMissing, RouteStore
from adapters.routes.jobs import KubernetesJobs
from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect
from adapters.routes.kubernetes_audit import KubernetesAudit
from adapters.routes.rest import call
from cli.declared import verdict_hours
from cli.doctor import version_of
from cli.errors import CliError
from cli.pod_reports import report_of
from cli.report.measured import Demonstration
from cli.report.model import Gathered, LastRun, steps_of
from cli.status import gather
from contracts.audit import first_broken
from contracts.routes import Route
from contracts.stages import Component, Stage
from cutover.tables import TABLES


@dataclass(frozen=True, slots=True)
class Sources:
    """Where all is asked. `job` gives a component's last Transition, `said` the phase and the output of a Job's pod,
    by the Job's name and the container's; `kubernetes` the version of the API server."""

    store: RouteStore
    registry: AdapterRegistry
    bulletins: Bulletins
    log: AuditLog
    job: Callable[[Component], dict[str, Any]]
    said: Callable[[str, str], tuple[str, str]]
    kubernetes: Callable[[], str]

    @classmethod
    def connected(cls, context: str | None, namespace: str, audit_namespace: str) -> Sources:
        """Those of the cluster that `context` names. Raises RouteUnavailable."""
        api = connect(context)
        registry, jobs = KubernetesRegistry(namespace, api), KubernetesJobs(api, namespace)
        return cls(
            KubernetesRouteStore(namespace, api), registry, registry, KubernetesAudit(audit_namespace, api),
            jobs.transition, jobs.said, lambda: str(call(api, "GET", "/version", timeout=5.0).object["gitVersion"]),
        )  # fmt: skip


def gathered(
    sources: Sources,
    config: Mapping[str, Any],
    wanted: Mapping[Component, Stage],
    *,
    stack: str,
    by: str,
    now: datetime,
    versions: Mapping[str, str],
    demonstration: Demonstration | None = None,
) -> Gathered:
    """All of it."""
    limits = {component: verdict_hours(config, component) for component in Component}
    log, broken = _log(sources.log)
    return Gathered(
        stack=stack,
        by=by,
        now=now,
        rows=gather(wanted, sources.store, sources.registry, sources.bulletins, limits),
        routes=_routes(sources.store),
        log=log,
        broken=broken,
        runs={component: last_run(sources, component) for component in TABLES},
        demonstration=demonstration,
        versions={**versions, "Kubernetes": _kubernetes(sources)},
    )


def _log(log: AuditLog) -> tuple[Sequence[tuple[str, str]] | str, Any]:
    try:
        lines = log.lines()
    except RouteError as error:
        return f"it could not be read: {error}", None
    return lines, first_broken(lines)


def _routes(store: RouteStore) -> dict[Component, Route]:
    """Those that can be read; of the others, their rows tell why."""
    found: dict[Component, Route] = {}
    for component in TABLES:
        try:
            route = store.read(component).route
        except RouteError:
            continue
        if route is not None:
            found[component] = route
    return found


def last_run(sources: Sources, component: Component) -> LastRun:
    """The report of the component's newest Transition."""
    try:
        job = sources.job(component)
    except RouteMissing:
        return LastRun()  # never deployed: its row tells so
    except RouteError as error:
        return LastRun(problem=f"its Transition could not be asked for: {error}")
    container = job["spec"]["template"]["spec"]["containers"][0]
    known = LastRun(job=str(job["metadata"].get("name", "")), image=str(container.get("image", "")))
    try:
        phase, output = sources.said(known.job, str(container.get("name", "")))
        if phase not in {"Succeeded", "Failed"}:
            return known
        told = report_of(output, "")
    except (RouteError, CliError) as error:
        return known.model_copy(update={"problem": f"the report of {known.job} is not there any more: {error}"})
    texts = {key: str(told.get(key) or "") for key in ("verdict", "message", "unaudited")}
    return known.model_copy(update={**texts, "steps": steps_of(told.get("steps"))})


def _kubernetes(sources: Sources) -> str:
    try:
        return sources.kubernetes()
    except RouteError:
        return "unknown"


def versions(root: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Those of this machine."""
    pulumi = version_of(["pulumi", "version"], env)
    try:
        crossover = str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        crossover = "unknown"
    return {
        "crossover": crossover,
        "Pulumi": f"unknown: {pulumi.why}" if isinstance(pulumi, Unknown) else pulumi,
        "Python": platform.python_version(),
    }
