"""`python -m cutover.strays`: what `crossover strays` runs beside the data. Writes its report as one line of JSON."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from adapters.postgres.errors import PostgresError
from adapters.postgres.strays import Stray, Verdict
from adapters.routes.base import LockHeld, RouteError
from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect
from adapters.routes.kubernetes_access import KubernetesAccess
from adapters.routes.kubernetes_lock import KubernetesLock
from contracts import names
from contracts.audit import Kind
from contracts.routes import HistoryEntry
from contracts.stages import Component
from cutover import auditing
from cutover.component_steps import steps_of
from cutover.context import Context, StepFailed, utc_now
from cutover.database import DatabaseSteps
from cutover.database.straying import Held, Straying
from cutover.errors import CutoverError
from cutover.timing import Timing

FAILED = 1


class Action(StrEnum):
    """What is to be done with strays."""

    LIST = "list"
    APPLY = "apply"
    DISCARD = "discard"


def run(context: Context, straying: Straying, action: Action, chosen: Sequence[str], by: str) -> dict[str, Any]:
    """Do it under the switch lock; what was found, and done. `chosen`: names of strays, none for all. The report's
    `error` says why not all was done."""
    report: dict[str, Any] = {"action": action.value, "strays": [], "settled": [], "error": ""}
    try:
        context.lock.acquire(context.component, context.holder, context.timing.lock_wait)
    except (LockHeld, RouteError) as error:
        return report | {"error": str(error)}
    try:
        with context.lock_kept():
            context.read()
            found = straying.find()
            report["strays"] = [{**one.as_dict(), "lines": one.lines()} for h in found for one in straying.told(h)]
            _refuse_unknown(found, chosen)
            if action is not Action.LIST:
                _settle(context, straying, action, found, chosen, by, report["settled"])
    except (CutoverError, PostgresError, RouteError) as error:
        report["error"] = str(error)
    finally:
        context.lock.release(context.component, context.holder)
    return report


def _refuse_unknown(found: Sequence[Held], chosen: Sequence[str]) -> None:
    known = {one.name for held in found for one in held.strays}
    if unknown := sorted(set(chosen) - known):
        raise StepFailed(
            f"there is no stray {', '.join(unknown)}, so nothing was settled; there are: "
            f"{', '.join(sorted(known)) or 'none'}",
            "Name one as crossover strays database lists it. One that was settled is not listed any more",
        )


def _settle(
    context: Context,
    straying: Straying,
    action: Action,
    found: Sequence[Held],
    chosen: Sequence[str],
    by: str,
    settled: list[dict[str, str]],
) -> None:
    for held in found:
        some = tuple(one for one in held.strays if not chosen or one.name in chosen)
        if not some:
            continue
        verdict = _verdict(action, serves=held.side == context.route.active)
        straying.settle(held, some, verdict, by)
        settled += [{"name": one.name, "side": held.side, "verdict": verdict.value} for one in some]
        _remember(context, some, held.side, verdict, by)
        if some == held.strays:
            straying.await_passed(held.side)


def _verdict(action: Action, *, serves: bool) -> Verdict:
    if action is Action.DISCARD:
        return Verdict.DISCARDED
    return Verdict.CARRIED if serves else Verdict.APPLIED


def _remember(context: Context, some: Sequence[Stray], side: str, verdict: Verdict, by: str) -> None:
    stage = context.route.stage
    named = ", ".join(one.name for one in some)
    entry = HistoryEntry(
        at=utc_now(),
        from_stage=stage,
        to_stage=stage,
        epoch=context.route.epoch,
        outcome=f"strays {verdict.value}",
        detail=f"{named} at {side}, by {by}"[:500],
    )
    context.write(context.route.with_history(entry))
    context.audit.note(Kind.ENDED, context.component, auditing.ended(entry))


def main(
    action: Annotated[Action, typer.Argument(help="What to do.")],
    stray: Annotated[list[str] | None, typer.Option("--stray", help="Only this one; give it once for each.")] = None,
    by: Annotated[str, typer.Option("--by", help="Whose decision it is.")] = "unknown",
) -> None:
    """List strays of the database, or settle them."""
    namespace, api = os.environ.get(names.ENV_NAMESPACE, names.NAMESPACE), connect()
    store = KubernetesRouteStore(namespace, api)
    context = Context(
        component=Component.DATABASE,
        store=store,
        registry=KubernetesRegistry(namespace, api),
        lock=KubernetesLock(namespace, api),
        cluster=KubernetesAccess(namespace, api),
        timing=Timing(),
        holder=os.environ.get(names.ENV_POD_NAME) or f"{socket.gethostname()}-{os.getpid()}",
        say=lambda line: print(line, flush=True),
        audit=auditing.recorder(os.environ, api, ""),
    )
    steps = steps_of(context, store.read(Component.DATABASE).route, None, os.environ)
    assert isinstance(steps, DatabaseSteps)  # noqa: S101 - for the type: that is what this component has
    try:
        report = run(context, steps.straying, action, stray or [], by)
    finally:
        steps.close()
        auditing.close(context.audit, context.say)
    print(json.dumps(report), flush=True)
    raise typer.Exit(FAILED if report["error"] else 0)


if __name__ == "__main__":
    typer.run(main)
