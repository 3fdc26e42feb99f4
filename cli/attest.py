"""`crossover attest`: notes in stack config what is seen of the live stack, for the policy pack (docs/policy.md)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from rich.console import Console

from adapters.routes.base import BackupNotes, RouteMissing, RouteStore
from adapters.routes.kubernetes import KubernetesRouteStore, connect
from adapters.routes.kubernetes_backups import KubernetesBackupNotes
from cli.options import Context, Json, Namespace, StackName
from cli.stack import DEFAULT_STACK, Stack
from contracts import names
from contracts.routes import Route
from contracts.stages import Component
from validation.verdicts import KeptVerdict, moment

KEY = "evidence"
ABSENT = "absent"
"""The stage of a component without a route."""
_out = Console()


def attest(
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
    as_json: Json = False,
) -> None:
    """Note in stack config where each component stands, what its last comparison said, and when the last backup was
    made: what the policy pack goes by. Changes nothing else."""
    api = connect(context)
    seen = gathered(KubernetesRouteStore(namespace, api), KubernetesBackupNotes(namespace, api), datetime.now(UTC))
    Stack(stack).note(KEY, seen)
    if as_json:
        print(json.dumps(seen))
        return
    for path, value in seen.items():
        _out.print(f"{path}: {value}", highlight=False, markup=False)


def gathered(routes: RouteStore, backups: BackupNotes, now: datetime) -> dict[str, str]:
    """What config is to say, by path. Raises RouteError where something cannot be asked: half of it would be taken for
    the whole."""
    seen = {"at": moment(now)}
    try:
        note = backups.read()
    except RouteMissing:
        note = None
    if note is not None:
        seen["backup_at"] = moment(note.at)
    for component in Component:
        try:
            route = routes.read(component).route
        except RouteMissing:
            route = None
        seen |= {f"components.{component.value}.{key}": value for key, value in _of(route).items()}
    return seen


def _of(route: Route | None) -> dict[str, str]:
    """Where it stands, and its last comparison, if that was made since it stands there."""
    if route is None:
        return {"stage": ABSENT}
    seen = {"stage": route.stage.value}
    kept = KeptVerdict.read(route.verdict)
    if kept is not None and kept.after == route.last_ended:
        seen |= {"verdict": kept.outcome.value, "verdict_at": moment(kept.at)}
    return seen
