"""`crossover replay`: requests asked of the services and written down, and asked again at another stage: the same
request must have the same answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from adapters.routes.base import RouteError
from adapters.routes.kubernetes import connect
from adapters.routes.services import asked
from cli.errors import CliError
from cli.options import Context, Json, Namespace
from contracts import names
from validation.api.exchange import Answer, Exchange, Request, TrafficError, read, write
from validation.api.replaying import Ask, NotAnswered, ask_all, compared, recorded
from validation.result import Verdict

REQUESTS = Path(__file__).resolve().parents[1] / "validation" / "api" / "requests.jsonl"
"""Of the example services."""
COULD_NOT_COMPARE = 3
_EXITS = {Verdict.HOLDS: 0, Verdict.DOES_NOT_HOLD: 1, Verdict.COULD_NOT_CHECK: COULD_NOT_COMPARE}

app = typer.Typer(no_args_is_help=True, help="The same request, the same answer at every stage.")
_out = Console()


@app.command("record")
def record(
    out: Annotated[Path, typer.Argument(help="The file to write: a line of JSON for each request and its answer.")],
    requests: Annotated[Path, typer.Option(help="What to ask; else what comes with Crossover.")] = REQUESTS,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Ask REQUESTS of the services, through the API server, and write them down with their answers.

    A recorded file is itself one of requests. Of headers only content-type, accept and the conversation's are kept.
    """
    try:
        exchanges = recorded(list(ask_all(load(requests), through(connect(context), namespace))))
    except NotAnswered as error:
        raise CliError(f"{error}: nothing was written", "crossover doctor") from None
    if not out.parent.is_dir():
        raise CliError(f"there is no folder {out.parent}: nothing was written", f"mkdir -p {out.parent}")
    write(out, exchanges)
    _out.print(f"{len(exchanges)} requests and their answers: {out}", highlight=False)


@app.command("compare")
def compare(
    traffic: Annotated[Path, typer.Argument(help="What `record` wrote.")],
    settled: Annotated[
        bool, typer.Option("--settled", help="No market data came between: positions and orders are the same, too.")
    ] = False,
    as_json: Json = False,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Ask the recorded requests again, and compare the answers.

    Exit status 0: all are the same; 1: one is not; 3: one could not be compared.
    """
    report = compared(list(ask_all(load(traffic), through(connect(context), namespace))), settled=settled)
    if as_json:
        print(report.to_json())
    else:
        _out.print(report.table())
    raise typer.Exit(_EXITS[report.overall()])


def through(api: Any, namespace: str) -> Ask:
    """Asks services through the API server: nothing else of the cluster has to be reached. `api`: from `connect`."""

    def ask(service: str, request: Request) -> Answer:
        try:
            answer = asked(
                api, namespace, service, request.method, request.path, headers=request.kept, body=request.body
            )
        except RouteError as error:
            raise NotAnswered(str(error)) from error
        return Answer.read(answer.status, answer.content_type, answer.content)

    return ask


def load(path: Path) -> tuple[Exchange, ...]:
    """The exchanges of a file. Raises CliError."""
    try:
        return read(path)
    except TrafficError as error:
        raise CliError(str(error)) from None
