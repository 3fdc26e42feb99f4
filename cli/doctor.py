"""`crossover doctor`: what would be found out late otherwise, asked from here, each with its likely cause and its fix.
Changes nothing. What only a pod reaches is asked by the readiness of pods and services; by pods of our own with --deep.

Exit status: 0 all holds; 1 something is wrong; 2 nothing is, as far as could be asked.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from adapters.known import Fact, Unknown
from adapters.routes.audit import AuditLog
from adapters.routes.base import (
    AdapterRegistry,
    BackupNotes,
    Bulletins,
    ClusterAccess,
    Permission,
    RouteError,
    RouteMissing,
    RouteStore,
)
from adapters.routes.jobs import KubernetesJobs
from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect
from adapters.routes.kubernetes_access import KubernetesAccess
from adapters.routes.kubernetes_audit import KubernetesAudit
from adapters.routes.kubernetes_backups import KubernetesBackupNotes
from adapters.routes.kubernetes_resources import KubernetesResources
from adapters.routes.resources import ClusterResources
from adapters.routes.services import unready
from adapters.routes.workloads import Deployed, deployed
from cli import diagnosing, resourcing
from cli.auditing import Spool
from cli.beside import Said, asked_in_pods, items_beside
from cli.causes import with_causes
from cli.declared import SECRET, declared, file_of
from cli.diagnosing import BESIDE, Asked, Audited
from cli.errors import CliError
from cli.status import MOVABLE, hours
from contracts import names
from contracts.audit import first_broken
from contracts.routes import Route
from contracts.stages import Component
from cutover import auditing
from cutover.carrier.telling import read
from validation.result import Check, Report, Verdict

if TYPE_CHECKING:
    from components.llm_settings import LlmServiceSettings
    from components.settings import BacktestingSettings, DatabaseSettings, EventBusSettings, Settings

EXIT = {Verdict.HOLDS: 0, Verdict.DOES_NOT_HOLD: 1, Verdict.COULD_NOT_CHECK: 2}
NEEDED = (
    Permission("get", "configmaps"),
    Permission("list", "pods"),
    Permission("list", "leases", "coordination.k8s.io"),
    Permission("get", "deployments", "apps"),
    Permission("list", "jobs", "batch"),
    Permission("create", "jobs", "batch"),
    Permission("delete", "jobs", "batch"),
)
"""What status, doctor and validate do in the cluster, with the caller's own rights."""
_SECRETS = (
    ("database", "hosted", "password"), ("llm_service", "api_key"), ("llm_service", "own", "hf_token"),
)  # fmt: skip
_TOOL_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where everything is asked. `job` gives a component's last Transition, `deployed` how a Deployment stands, `audit`
    the audit log of a namespace, `unready` why a service is not ready, `beside` what a pod of a component's own
    preflight says."""

    store: RouteStore
    registry: AdapterRegistry
    bulletins: Bulletins
    notes: BackupNotes
    access: ClusterAccess
    job: Callable[[Component], dict[str, Any]]
    deployed: Callable[[str], Deployed]
    audit: Callable[[str], AuditLog]
    resources: ClusterResources
    unready: Callable[[str], str | None]
    beside: Said

    @classmethod
    def connected(cls, context: str | None, namespace: str) -> Cluster:
        """The one that `context` names. Raises RouteUnavailable."""
        api = connect(context)
        registry, jobs = KubernetesRegistry(namespace, api), KubernetesJobs(api, namespace)
        return cls(
            KubernetesRouteStore(namespace, api),
            registry,
            registry,
            KubernetesBackupNotes(namespace, api),
            KubernetesAccess(namespace, api),
            jobs.transition,
            lambda name: deployed(api, namespace, name),
            lambda audit_namespace: KubernetesAudit(audit_namespace, api),
            KubernetesResources(namespace, api),
            lambda service: unready(api, namespace, service),
            asked_in_pods(jobs),
        )


def examine(
    root: Path,
    stack: str,
    env: Mapping[str, str],
    cluster: Callable[[str | None, str], Cluster],
    *,
    context: str | None = None,
    namespace: str | None = None,
    now: datetime | None = None,
    deep: bool = False,
) -> Report:
    """All that can be asked from here; `cluster` connects, by context and namespace. What config lacks is told first:
    without it only the tools can be looked at. `deep`: what only a pod can ask, too."""
    settings, checks = config_checks(root, stack, env)
    checks += tool_checks(root, env)
    if settings is not None:
        place = namespace or settings.namespaces.backend
        where = f"context {context or settings.kube_context}, namespace {place}"
        spool = Spool.of(root, stack)
        reached, found = reach(where, lambda: cluster(context or settings.kube_context, place))
        checks += found
        if reached is not None:
            checks += cluster_checks(settings, reached, now or datetime.now(UTC), spool, MOVABLE)
            checks += items_beside(reached.beside, MOVABLE) if deep else []
    checks = list(with_causes(checks))
    return Report(subject=f"stack {stack}", checks=tuple(checks))


def config_checks(root: Path, stack: str, env: Mapping[str, str]) -> tuple[Settings | None, list[Check]]:
    """Stack config as the update would read it: each error by file and key, and secrets that stand in the clear."""
    from components.settings import ENV_KUBE_CONTEXT, SettingsError, parse  # slow, and nobody else needs it here

    expected = "stack config can be used"
    try:
        raw = declared(root, stack)
    except CliError as error:
        return None, [Check.that("config", False, expected=expected, found=str(error), fix=error.fix)]
    checks = list(_in_the_clear(raw, stack))
    if env.get(ENV_KUBE_CONTEXT):
        raw["kube_context"] = env[ENV_KUBE_CONTEXT]
    try:
        settings = parse(stack, _hidden(raw))
    except SettingsError as error:
        for problem in error.problems:
            found, _, fix = problem.strip().partition(". Fix: ")
            checks.append(Check.that("config", False, expected=expected, found=found, fix=fix))
        return None, checks
    return settings, [Check.that("config", True, expected=expected, found=file_of(stack)), *checks]


def _in_the_clear(raw: Mapping[str, Any], stack: str) -> Iterator[Check]:
    for path in _SECRETS:
        value: Any = raw
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value not in (None, "", SECRET):
            key = f"crossover:{'.'.join(path)}"
            found = f"{file_of(stack)}: {key} is in the clear"
            yield Check.that(
                f"config: {'.'.join(path)}", False, expected="encrypted", found=found,
                fix=f"pulumi config set --path {key} --secret; then change it, where the file was shared",
            )  # fmt: skip


def _hidden(raw: dict[str, Any]) -> dict[str, Any]:
    """The same with the placeholder in place of secrets in the clear, too: no error can repeat one then."""
    made = {key: dict(value) if isinstance(value, dict) else value for key, value in raw.items()}
    for *path, last in _SECRETS:
        at: Any = made
        for key in path:
            inner = at.get(key) if isinstance(at, dict) else None
            if isinstance(inner, dict):
                at[key] = inner = dict(inner)
            at = inner
        if isinstance(at, dict) and last in at:
            at[last] = SECRET
    return made


def tool_checks(root: Path, env: Mapping[str, str]) -> list[Check]:
    """The programs that are run from here."""
    try:
        least = str(yaml.safe_load((root / "Pulumi.yaml").read_text()).get("requiredPulumiVersion", ""))
    except (OSError, yaml.YAMLError, AttributeError):
        least = ""
    setup = "make setup, then . .crossover/env; or install it"
    return [
        diagnosing.version("pulumi", version_of(["pulumi", "version"], env), least.strip(">= "), setup),
        diagnosing.version("kubectl", version_of(["kubectl", "version", "--client"], env), "", setup),
    ]


def version_of(command: Sequence[str], env: Mapping[str, str]) -> Fact[str]:
    """What a program on PATH says that its version is."""
    program = shutil.which(command[0], path=env.get("PATH"))
    if program is None:
        return Unknown(f"there is no {command[0]} on PATH")
    try:
        done = subprocess.run(
            [program, *command[1:]], env=dict(env), capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=_TOOL_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return Unknown(f"{program} does not run: {type(error).__name__}")
    found = re.search(r"v?\d+\.\d+\.\d+\S*", done.stdout)
    return found[0] if found else Unknown(f"{program} does not tell its version")


def reach(where: str, connected: Callable[[], Cluster]) -> tuple[Cluster | None, list[Check]]:
    """The cluster; None where it cannot be asked, which is then the one thing to be said of it."""
    expected = "its API server answers"
    try:
        cluster = connected()
        cluster.access.clock_ahead()
    except RouteError as error:
        fix = "kubectl config get-contexts; see that its API server runs and can be reached from here"
        return None, [Check.unknown(f"cluster: {where}", expected=expected, why=str(error), fix=fix)]
    return cluster, [Check.that("cluster", True, expected=expected, found=where)]


def cluster_checks(
    settings: Settings, cluster: Cluster, now: datetime, spool: Spool, components: Sequence[Component]
) -> list[Check]:
    """What the cluster tells of `components`, and of what they run on."""
    checks = [_rights(cluster.access)]
    for component in components:
        checks += diagnosing.component(_asked(settings, component, cluster), now)
    checks += resourcing.checks(_resources(settings, cluster, components), now)
    log = cluster.audit(settings.namespaces.audit)
    checks.append(diagnosing.audit(fact(lambda: _audited(log, cluster.store, spool))))
    return checks


def _resources(settings: Settings, cluster: Cluster, components: Sequence[Component]) -> resourcing.Resources:
    resources = cluster.resources
    pods = fact(resources.pods)
    on = sorted({one.node for one in pods if one.node}) if not isinstance(pods, Unknown) else []
    asleep = {names.TRADING_ENGINE_NAME} if settings.trading_engine.replicas == 0 else set()
    routes = [route_of(cluster.store, component) for component in components]
    return resourcing.Resources(
        nodes=fact(resources.nodes),
        pods=pods,
        used=fact(resources.memory_used),
        volumes=fact(
            lambda: list({volume.claim: volume for node in on for volume in resources.volumes(node)}.values())
        ),
        unready={one: fact(partial(cluster.unready, one)) for one in names.SERVICES if one not in asleep},
        stages={route.component: route.stage for route in routes if isinstance(route, Route)},
        models=_models(settings),
    )


def _audited(log: AuditLog, store: RouteStore, spool: Spool) -> Audited:
    """What the log tells, beside what routes tell. Raises RouteError."""
    lines = log.lines()
    broken = first_broken(lines)
    routes = [route_of(store, component) for component in MOVABLE]
    told = [route for route in routes if isinstance(route, Route)] if broken is None else []
    lacking = {route.component: len(auditing.lacking(route, log)) for route in told}
    return Audited(entries=len(lines), broken=broken, lacking=lacking, waits=(len(spool.read()), str(spool.path)))


def _rights(access: ClusterAccess) -> Check:
    expected = "what status, doctor and validate do may be done"
    fix = "Ask who keeps the cluster for a Role with them, in the backend's namespace"
    try:
        missing = [str(permission) for permission in NEEDED if not access.allows(permission)]
    except RouteError as error:
        return Check.unknown("rights", expected=expected, why=str(error), fix=fix)
    found = f"not allowed: {', '.join(missing)}" if missing else f"{len(NEEDED)} rights"
    return Check.that("rights", not missing, expected=expected, found=found, fix=fix)


def _asked(settings: Settings, component: Component, cluster: Cluster) -> Asked:
    wanted = _entry(settings, component)
    of_database = component is Component.DATABASE
    accepts = of_database and "backup" in settings.database.accept
    return Asked(
        component=component,
        wanted=wanted.stage,
        emergency=wanted.emergency,
        limit=hours(wanted.verdict_hours),
        route=route_of(cluster.store, component),
        job=fact(lambda: cluster.job(component)),
        adapters=fact(lambda: cluster.registry.records(component)),
        present=fact(lambda: cluster.registry.present(component)),
        deployments={name: fact(partial(cluster.deployed, name)) for name in _beside(settings, component)},
        carried=fact(lambda: read(cluster.bulletins.posted(component))) if of_database else {},
        backup=fact(cluster.notes.read) if of_database else None,
        backup_hours=None if accepts else settings.database.backup_hours,
    )


def _entry(
    settings: Settings, component: Component
) -> EventBusSettings | DatabaseSettings | LlmServiceSettings | BacktestingSettings:
    """What config says of a component."""
    match component:
        case Component.EVENT_BUS:
            return settings.event_bus
        case Component.DATABASE:
            return settings.database
        case Component.LLM_SERVICE:
            return settings.llm_service
        case Component.BACKTESTING:
            return settings.backtesting


def _beside(settings: Settings, component: Component) -> tuple[str, ...]:
    """The Deployments on which its moving rests, our own models among them."""
    return (*BESIDE[component], *(_models(settings) if component is Component.LLM_SERVICE else ()))


def _models(settings: Settings) -> tuple[str, ...]:
    return tuple(map(names.own_llm_name, settings.llm_service.own.models_at(settings.size)))


def route_of(store: RouteStore, component: Component) -> Fact[Route | None]:
    """The live route; None where nothing was ever written."""
    try:
        return store.read(component).route
    except RouteMissing:
        return None
    except RouteError as error:
        return Unknown(str(error))


def fact[T](ask: Callable[[], T]) -> Fact[T]:
    """What `ask` gives, or that it could not be had."""
    try:
        return ask()
    except RouteError as error:
        return Unknown(str(error))
