"""The command."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adapters.durable import replacing
from cli.auditing import actor, audit_namespace
from cli.declared import file_of, wanted_stages
from cli.errors import CliError
from cli.options import AuditNamespace, Context, Namespace, StackName
from cli.report import gathering
from cli.report.measured import Demonstration
from cli.report.model import build
from cli.report.page import page
from cli.report.signing import signed
from cli.stack import DEFAULT_STACK, ROOT, Stack
from contracts import names
from contracts.stages import Component

FAILED = 1
_out = Console()


def report(
    components: Annotated[list[Component] | None, typer.Argument(help="These only; all where none is named.")] = None,
    out: Annotated[Path, typer.Option("--out", help="The file that gets the page.")] = Path("report.html"),
    demo: Annotated[
        Path | None, typer.Option("--demo", help="reports/demo.json: what `make demo` measured under load.")
    ] = None,
    sign_key: Annotated[
        Path | None, typer.Option("--sign-key", help="An SSH key, whose signature the page gets.")
    ] = None,
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
    log: AuditNamespace = None,
) -> None:
    """Write one page about the migration: when each component moved, how, by whose word, and what was compared.

    It needs no network to be read, and holds its data with their sha256. Exit status 1: something could not be had, or
    the audit log is broken; the page says what.
    """
    if not out.absolute().parent.is_dir():
        raise CliError(f"there is no folder {out.parent}: the page could not be written", f"mkdir -p {out.parent}")
    measured = Demonstration.read(demo) if demo is not None else None
    config = Stack(stack).config()
    sources = gathering.Sources.connected(context, namespace, log or audit_namespace(ROOT, stack))
    found = gathering.gathered(
        sources, config, wanted_stages(config, file_of(stack)), stack=stack, by=actor(), now=datetime.now(UTC),
        versions=gathering.versions(ROOT, os.environ), demonstration=measured,
    )  # fmt: skip
    made = build(found, components or ())
    signature = signed(made.digest, sign_key) if sign_key is not None else ""
    with replacing(out) as aside:
        aside.write_text(page(made, signature), encoding="utf-8")
    _out.print(f"{out}: sha256 of its data {made.digest}", highlight=False, markup=False, soft_wrap=True)
    for gap in made.gaps:
        _out.print(f"  not as it should be: {gap}", highlight=False, markup=False, soft_wrap=True)
    if made.gaps:
        raise typer.Exit(FAILED)
