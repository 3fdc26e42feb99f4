"""`crossover preflight`: the whole checklist before a migration, by machine where it can be, by people where it cannot.

Exit status: 0 all holds; 1 something does not; 2 nothing does not, as far as could be asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console

from adapters.known import Fact, Unknown
from adapters.routes.base import RouteError
from adapters.routes.kubernetes import connect
from adapters.routes.kubernetes_audit import KubernetesAudit
from cli import doctor, preflighting
from cli.auditing import Spool, actor
from cli.beside import items_beside
from cli.causes import with_causes
from cli.doctor import Cluster
from cli.errors import CliError
from cli.options import Context, Json, StackName
from cli.preflighting import coming
from cli.stack import DEFAULT_STACK, ROOT
from cli.status import MOVABLE
from cli.watching import read_all
from contracts import names
from contracts.audit import Entry, Kind, first_broken
from contracts.confirmations import confirmation, confirmed, questions_of, revocation
from contracts.routes import Route
from contracts.stages import Component
from cutover import surroundings
from validation.result import Check, Report

if TYPE_CHECKING:
    from components.settings import Settings

type Connected = Callable[[str | None, str], Cluster]
_ALERTS = Path("observability", "alerts.yaml")
_out = Console()


def preflight(
    components: Annotated[
        list[Component] | None, typer.Argument(help="Those that are to move; all where none is named.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every component.")] = False,
    confirm: Annotated[
        str,
        typer.Option("--confirm", metavar="ITEM", help="Say yes to what people are asked; it is kept with your name."),
    ] = "",
    revoke: Annotated[str, typer.Option("--revoke", metavar="ITEM", help="Take a yes back.")] = "",
    note: Annotated[str, typer.Option("--note", help="With --confirm or --revoke: what is kept beside it.")] = "",
    as_json: Json = False,
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", envvar=names.ENV_NAMESPACE, help="Else the one that config names.")
    ] = None,
) -> None:
    """Go through the checklist before a migration: cluster, components, way back, monitoring, secrets, and people.

    What people are asked is answered by --confirm ITEM; the audit log keeps who said yes, and when.
    """
    if components and every:
        raise CliError("components and --all were given: which is meant?", "name components, or --all alone")
    if confirm or revoke:
        if (confirm and revoke) or components or every or as_json:
            raise CliError(
                "--confirm and --revoke take one item and nothing else", "crossover preflight --confirm ITEM"
            )
        _answer(confirm or revoke, note, stack, context, revoked=bool(revoke))
        return
    if note:
        raise CliError("--note says something of --confirm and --revoke only", "leave it out")
    report = examine(
        ROOT, stack, os.environ, Cluster.connected, components or MOVABLE, context=context, namespace=namespace
    )
    if as_json:
        print(report.to_json())
    else:
        _out.print(report.table())
    raise typer.Exit(doctor.EXIT[report.overall()])


def examine(
    root: Path,
    stack: str,
    env: Mapping[str, str],
    connected: Connected,
    components: Sequence[Component],
    *,
    context: str | None = None,
    namespace: str | None = None,
    now: datetime | None = None,
    pods: bool = True,
) -> Report:
    """The whole checklist. `pods`: the components' own items, too, for which a pod is run beside the data of each."""
    at = now or datetime.now(UTC)
    settings, checks = doctor.config_checks(root, stack, env)
    checks += doctor.tool_checks(root, env)
    if settings is not None:
        cleared = [check.found for check in checks if check.name.startswith("config: ")]
        checks.append(preflighting.secrets_encrypted(cleared))
        place = namespace or settings.namespaces.backend
        where = f"context {context or settings.kube_context}, namespace {place}"
        cluster, found = doctor.reach(where, lambda: connected(context or settings.kube_context, place))
        checks += found
        if cluster is not None:
            checks += doctor.cluster_checks(settings, cluster, at, Spool.of(root, stack), components)
            checks += _machine(settings, cluster, components, root)
            checks += items_beside(cluster.beside, components) if pods else []
        checks += _people(settings, cluster, stack, at)
        checks = list(preflighting.excused(with_causes(checks), settings.migration.accept))
    subject = f"stack {stack}, {', '.join(component.value for component in components)}"
    return Report(subject=subject, checks=tuple(checks))


def held_up(
    stack: str, components: Sequence[Component], context: str | None, namespace: str | None, root: Path = ROOT
) -> list[Check]:
    """What keeps `components` from being moved where config requires preflight. No pod is run: a transition begins with
    the components' own items anyway."""
    report = examine(
        root, stack, os.environ, Cluster.connected, components, context=context, namespace=namespace, pods=False
    )
    return preflighting.holding_up(report.checks)


def _machine(settings: Settings, cluster: Cluster, components: Sequence[Component], root: Path) -> list[Check]:
    resources = cluster.resources
    nodes, here = doctor.fact(resources.nodes), doctor.fact(resources.pods)
    everywhere = doctor.fact(lambda: resources.pods(everywhere=True))
    routes = {component: doctor.route_of(cluster.store, component) for component in components}
    stages = {component: route.stage if isinstance(route, Route) else None for component, route in routes.items()}
    added = [pod for component, stage in stages.items() for pod in coming(settings, component, stage)]
    read = doctor.fact(lambda: read_all(resources))
    entries = _entries(cluster, settings)
    checks = [
        preflighting.room(added, nodes, everywhere, doctor.fact(resources.scales)),
        preflighting.storage_class(settings.storage_class, doctor.fact(resources.storage_classes)),
        preflighting.secrets_present(here, doctor.fact(resources.secrets)),
        preflighting.exposed(read),
        preflighting.watched(_alerts(root), doctor.fact(resources.alerts)),
    ]
    for component in components:
        spoken = surroundings.protocol(doctor.fact(partial(cluster.registry.records, component)))
        checks.append(spoken.model_copy(update={"name": f"{component.value}: {spoken.name}"}))
        checks.append(preflighting.rehearsed(component, entries))
    return checks


def _people(settings: Settings, cluster: Cluster | None, stack: str, now: datetime) -> list[Check]:
    entries: Fact[Sequence[Entry]] = Unknown("the cluster cannot be asked")
    if cluster is not None:
        entries = _entries(cluster, settings)
    said = entries if isinstance(entries, Unknown) else confirmed(entries, stack)
    return list(preflighting.answered(questions_of(settings.migration.questions), said, now))


def _entries(cluster: Cluster, settings: Settings) -> Fact[Sequence[Entry]]:
    """All that the audit log has; what is in one that is broken says nothing."""
    lines = doctor.fact(lambda: cluster.audit(settings.namespaces.audit).lines())
    if isinstance(lines, Unknown):
        return lines
    if (broken := first_broken(lines)) is not None:
        return Unknown(f"the audit log is BROKEN at {broken}")
    return [Entry.read(line) for _, line in lines]


def _alerts(root: Path) -> Fact[frozenset[str]]:
    try:
        groups = yaml.safe_load((root / _ALERTS).read_text())["groups"]
        return frozenset(str(rule["alert"]) for group in groups for rule in group["rules"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        return Unknown(f"{_ALERTS} cannot be read: {type(error).__name__}")


def _answer(item: str, note: str, stack: str, context: str | None, *, revoked: bool) -> None:
    """Append who says yes, or takes it back. Raises CliError, and RouteError where it could not be appended: then
    nothing was confirmed, or it may have been, and preflight tells."""
    settings, problems = doctor.config_checks(ROOT, stack, os.environ)
    if settings is None:
        raise CliError(f"config cannot be used: {problems[0].found}", "crossover doctor")
    migration = settings.migration
    questions = questions_of(migration.questions)
    if item not in questions:
        raise CliError(f"{item!r} is nothing that people are asked", f"one of: {', '.join(questions)}")
    at, who = datetime.now(UTC), actor()
    kind, data = Kind.REVOKED, revocation(item, note, stack=stack, at=at)
    if not revoked:
        days = migration.confirm_days
        kind, data = Kind.CONFIRMED, confirmation(item, questions[item], note, stack=stack, at=at, days=days)
    entry = append(settings, context, kind, who, data)
    told = "revoked" if revoked else f"confirmed until {data['until'][:16].replace('T', ' ')} UTC: {questions[item]}"
    _out.print(f"{item}: {told} (entry {entry.seq} of the audit log, {who})", highlight=False, markup=False)


def append(settings: Settings, context: str | None, kind: Kind, who: str, data: Mapping[str, Any]) -> Entry:
    """Append to the audit log, at once. Raises CliError where it cannot be."""
    try:
        log = KubernetesAudit(settings.namespaces.audit, connect(context or settings.kube_context))
        return log.append(kind, "", who, data)
    except RouteError as error:
        raise CliError(
            f"the audit log could not be written, so nothing was confirmed or revoked for sure: {error}",
            "crossover doctor; then the same command again, and crossover preflight tells who said yes",
        ) from None
