"""`crossover docs`: writes the documents of a stack. The same stack gives the same files.

Exit status: 0 written; 1 written, and something could not be asked; 2 nothing was written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from adapters.durable import replacing
from adapters.routes.base import RouteStore
from adapters.routes.kubernetes import KubernetesRouteStore, connect
from adapters.routes.rest import call
from cli.declared import declared, file_of, wanted_stages
from cli.documents import gathering
from cli.documents.deployment import deployment_page
from cli.documents.guide import EXAMPLES, user_guide
from cli.documents.model import Facts, differing
from cli.errors import CliError
from cli.options import Context, StackName
from cli.report.gathering import versions
from cli.stack import DEFAULT_STACK, ROOT
from contracts import names

FAILED = 1
UNTOLD = frozenset({"evidence"})
"""Keys of config that are notes, and no settings."""
_SECONDS = 10.0
_out = Console()


def docs(
    out: Annotated[Path, typer.Option("--out", help="The folder that gets them; made where it is not there.")],
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
) -> None:
    """Write a deployment page and a user guide of the stack as it is, with the OpenAPI documents beside them."""
    config = declared(ROOT, stack)
    api = connect(context or os.environ.get("CROSSOVER_KUBE_CONTEXT") or str(config.get("kube_context") or "") or None)
    backend = _of(config, "namespaces", "backend", names.NAMESPACE)

    def listed(path: str) -> Sequence[Mapping[str, Any]]:
        items: Sequence[Mapping[str, Any]] = call(api, "GET", path, timeout=_SECONDS).object["items"]
        return items

    facts = gathered(config, stack, KubernetesRouteStore(backend, api), listed, versions(ROOT, os.environ))
    for path in write(facts, out, ROOT):
        _out.print(str(path), highlight=False, markup=False, soft_wrap=True)
    for gap in facts.gaps:
        _out.print(f"  not told: {gap}", highlight=False, markup=False, soft_wrap=True)
    if facts.gaps:
        raise typer.Exit(FAILED)


def gathered(
    config: Mapping[str, Any],
    stack: str,
    store: RouteStore,
    listed: gathering.Listed,
    known: Mapping[str, str],
) -> Facts:
    """All that is told of the stack that `config` describes."""
    # Imported here: no other command waits for what it imports in turn.
    from components.settings import Settings

    defaults = Settings(kube_context="-").model_dump(mode="json", exclude={"kube_context"})
    backend = _of(config, "namespaces", "backend", names.NAMESPACE)
    namespaces = (backend, _of(config, "namespaces", "hosted", names.HOSTED_NAMESPACE))
    gaps: list[str] = []
    return Facts(
        stack=stack,
        namespace=backend,
        cluster_domain=str(config.get("cluster_domain") or defaults["cluster_domain"]),
        environment=str(config.get("environment") or defaults["environment"]),
        standings=gathering.standings(store, wanted_stages(config, file_of(stack)), gaps),
        workloads=gathering.workloads(listed, namespaces, gaps),
        addresses=gathering.addresses(listed, namespaces, gaps),
        volumes=gathering.volumes(listed, namespaces, gaps),
        settings=differing(config, defaults, UNTOLD),
        versions=known,
        gaps=tuple(gaps),
    )


def _of(config: Mapping[str, Any], key: str, part: str, default: str) -> str:
    found = config.get(key)
    return str(found.get(part) or default) if isinstance(found, Mapping) else default


def write(facts: Facts, out: Path, root: Path) -> list[Path]:
    """Write the documents into `out`; their paths. Raises CliError where that cannot be."""
    texts = {f"api/{name}.json": (root / "docs" / "api" / f"{name}.json").read_text() for name in EXAMPLES}
    apis = {name: json.loads(texts[f"api/{name}.json"]) for name in EXAMPLES}
    texts |= {"deployment.md": deployment_page(facts), "user-guide.md": user_guide(facts, apis)}
    try:
        (out / "api").mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with replacing(out / name) as aside:
                aside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{out} cannot be written to: {error.strerror}", "give another folder with --out") from None
    return [out / name for name in texts]
