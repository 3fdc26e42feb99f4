"""`python -m cutover`: what a Transition Job runs."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer

from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect
from adapters.routes.kubernetes_access import KubernetesAccess
from adapters.routes.kubernetes_backups import KubernetesBackupNotes
from adapters.routes.kubernetes_lock import KubernetesLock
from adapters.routes.kubernetes_nodes import KubernetesNodes
from contracts import names
from contracts.stages import Component, Stage
from cutover import auditing, previewing
from cutover.component_steps import steps_of, wishes_of
from cutover.context import Context
from cutover.plan import Step
from cutover.reporting import as_json, leave_termination_message, summary
from cutover.run import CHECKED, Outcome, Runner, validate
from cutover.tables import TABLES
from cutover.timing import Timing

EXIT_REACHED, EXIT_FAILED, EXIT_REFUSED = 0, 1, 2


def say(line: str) -> None:
    """One line for people, at once: `pulumi up` streams the Job's output."""
    print(line, flush=True)


def main(
    component: Annotated[Component, typer.Option(help="The component to move.")],
    stage: Annotated[Stage | None, typer.Option(help="The stage to bring it to.")] = None,
    check: Annotated[bool, typer.Option(help="Check the component as it stands; change nothing.")] = False,
    preflight: Annotated[bool, typer.Option(help="With --check: preflight alone, without a comparison.")] = False,
    preview: Annotated[bool, typer.Option(help="List the steps from the live route; change nothing.")] = False,
    emergency: Annotated[
        bool, typer.Option(help="The backend that serves is dead: move traffic without asking it. Only to mvp, shadow.")
    ] = False,
    owner: Annotated[str, typer.Option(help="Whose run it is: an older one of the same owner gives way.")] = "",
    watch_seconds: Annotated[float, typer.Option(help="How long post-checks run after a switch.", min=0)] = 10.0,
) -> None:
    """Bring COMPONENT to STAGE, or leave traffic where it is and say why."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    if (stage is None) != check:
        raise typer.BadParameter("give either --stage or --check")
    if preflight and not check:
        raise typer.BadParameter("--preflight is of --check: every transition begins with it")
    if component not in TABLES:
        movable = ", ".join(sorted(TABLES))
        say(f"{component.value} cannot be moved by this version: only {movable} can. It stays at mvp")
        raise SystemExit(EXIT_REACHED if stage is Stage.MVP else EXIT_REFUSED)
    namespace = os.environ.get(names.ENV_NAMESPACE, names.NAMESPACE)
    api = connect()
    store = KubernetesRouteStore(namespace, api)
    if preview and stage is not None:
        for line in previewing.preview(
            store.read(component).route, component, stage, wishes_of(component, os.environ), emergency=emergency
        ):
            say(line)
        return
    context = Context(
        component=component,
        store=store,
        registry=KubernetesRegistry(namespace, api),
        lock=KubernetesLock(namespace, api),
        cluster=KubernetesAccess(namespace, api),
        timing=Timing(watch=watch_seconds),
        holder=os.environ.get(names.ENV_POD_NAME) or f"{socket.gethostname()}-{os.getpid()}",
        say=say,
        owner=owner,
        backups=KubernetesBackupNotes(namespace, api),
        nodes=KubernetesNodes(api),
        audit=auditing.recorder(os.environ, api, owner),
        verdict_limit=timedelta(hours=float(os.environ.get(names.ENV_VERDICT_HOURS) or names.DEFAULT_VERDICT_HOURS)),
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: context.stopped.set())
    outcome = _run(context, stage, emergency, CHECKED[:1] if preflight else CHECKED)
    say(summary(component, outcome))
    say(as_json(component, outcome))
    leave_termination_message(summary(component, outcome))
    sys.exit(EXIT_REACHED if outcome.reached else EXIT_FAILED)


def _run(context: Context, stage: Stage | None, emergency: bool, checked: Sequence[Step]) -> Outcome:
    """Bring the component to `stage`; None: check it as it stands, by the steps `checked`."""
    steps = steps_of(context, context.store.read(context.component).route, stage, os.environ)
    try:
        if stage is not None:
            return Runner(context, steps, stage, emergency=emergency).run()
        outcome = validate(context, steps, checked)
        outcome.unaudited = auditing.close(context.audit, say)
        return outcome
    finally:
        steps.close()


if __name__ == "__main__":
    typer.run(main)
