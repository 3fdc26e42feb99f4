"""Options that many commands have, each told once."""

from __future__ import annotations

from typing import Annotated

import typer

from contracts import names

StackName = Annotated[str, typer.Option("--stack", "-s", envvar="CROSSOVER_STACK", help="The Pulumi stack.")]
Context = Annotated[
    str | None, typer.Option("--context", envvar="CROSSOVER_KUBE_CONTEXT", help="The Kubernetes context.")
]
Namespace = Annotated[str, typer.Option("--namespace", envvar=names.ENV_NAMESPACE, help="Where the backend lives.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
AuditNamespace = Annotated[
    str | None,
    typer.Option("--audit-namespace", envvar=names.ENV_AUDIT_NAMESPACE, help="Where the audit log is; else by config."),
]
