"""`python -m validation.llm_service`: judge two backends by labelled prompts, or look at the prompts."""

from __future__ import annotations

import json
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adapters.llm import open_backend
from contracts.llm import Endpoints, InvalidEndpoints
from contracts.names import ENV_LLM_API_KEY, ENV_LLM_ENDPOINTS, ENV_LLM_OWN_API_KEY
from contracts.stages import BACKENDS, Component
from contracts.stages import Side as Place
from validation.llm_service.asking import Side
from validation.llm_service.gate import Settings, conclusion, judge
from validation.llm_service.prompts import BadPrompts, Prompt, load, stratified
from validation.load.verifying import exit_code

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_NAMES = BACKENDS[Component.LLM_SERVICE]
_KEYS = {_NAMES[Place.OLD]: ENV_LLM_API_KEY, _NAMES[Place.NEW]: ENV_LLM_OWN_API_KEY}
Files = Annotated[list[Path] | None, typer.Option("--prompts", help="A JSONL file of your own; may be given again.")]


@app.callback()
def setup() -> None:
    """The quality gate of llm_service."""


@app.command("judge")
def judge_both(
    *,
    alias: Annotated[str, typer.Option(help="The alias whose models are compared.")] = "default",
    prompts: Files = None,
    per_kind: Annotated[int | None, typer.Option(help="Only so many prompts of each kind.", min=1)] = None,
    margin: Annotated[float, typer.Option(help="By how much the new side may be worse.", min=0.001, max=0.5)] = 0.05,
    concurrency: Annotated[int, typer.Option(help="Calls in flight at each side.", min=1, max=256)] = 4,
    tries: Annotated[int, typer.Option(help="Of each prompt, where a failure may pass.", min=1, max=10)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON, for machines.")] = False,
) -> None:
    """Ask both backends that LLM_ENDPOINTS names, and judge: exit status 0 where the new one is not worse, 1 where it
    is, 3 where there is not enough data. Keys are read from LLM_API_KEY (hosted) and LLM_OWN_API_KEY (ours)."""
    chosen = _prompts(prompts, per_kind)
    old, new = (_side(_NAMES[place], alias) for place in (Place.OLD, Place.NEW))
    settings = Settings(margin=margin, concurrency=concurrency, tries=tries)
    report = judge(old, new, chosen, settings, subject=f"llm_service, {alias}")
    if as_json:
        typer.echo(json.dumps({**json.loads(report.to_json()), "conclusion": conclusion(report).value}))
    else:
        Console().print(report.table())
        typer.echo(f"{new.model} at {new.name}: {conclusion(report)}")
    raise typer.Exit(exit_code({report.subject: report}))


@app.command("prompts")
def show_prompts(prompts: Files = None) -> None:
    """Read the shipped prompts and yours, and count them: exit status 2 where a line cannot be used."""
    for kind, count in sorted(Counter(prompt.kind for prompt in _prompts(prompts, None)).items()):
        typer.echo(f"{kind}: {count}")


def _prompts(files: list[Path] | None, per_kind: int | None) -> tuple[Prompt, ...]:
    try:
        found = load(*(files or ()))
    except BadPrompts as bad:
        raise typer.BadParameter(str(bad)) from None
    return found if per_kind is None else stratified(found, per_kind)


def _side(backend: str, alias: str) -> Side:
    try:
        endpoint = Endpoints.parse(os.environ.get(ENV_LLM_ENDPOINTS, "")).of(backend, alias)
    except InvalidEndpoints as invalid:
        raise typer.BadParameter(f"{ENV_LLM_ENDPOINTS} names no endpoints: {invalid}") from None
    except KeyError as missing:
        raise typer.BadParameter(f"{ENV_LLM_ENDPOINTS} has no {missing.args[0]}: there is nobody to ask") from None
    key = os.environ.get(_KEYS[backend])
    return Side(backend, endpoint.model, partial(open_backend, backend, endpoint.base_url, key))


if __name__ == "__main__":
    app()
