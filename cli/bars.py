"""`crossover bars`: files of bars into a folder that backtests read (DATA_PATH), what it holds, and what goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from adapters.routes.kubernetes import connect
from adapters.routes.sweep_jobs import KubernetesSweeps
from cli.errors import CliError
from cli.options import Context, Namespace
from cli.pod_reports import answer_of
from contracts import names
from contracts.histories import History

app = typer.Typer(no_args_is_help=True, help="Keep histories of bars for backtests: docs/backtest-data.md.")
_out = Console()


@app.command("import")
def take(
    file: Annotated[Path, typer.Argument(help="CSV, plain or .gz, or Parquet.")],
    symbol: Annotated[str, typer.Option("--symbol", help="As backtests will name it.")],
    into: Annotated[Path, typer.Option("--into", help="The catalog's folder.")],
    timezone: Annotated[str | None, typer.Option("--timezone", help="Of the file's clock: America/New_York.")] = None,
    max_gap: Annotated[str | None, typer.Option("--max-gap", help="How long no bars may be: 90m, 14d, any.")] = None,
    splits: Annotated[str | None, typer.Option("--splits", help="date:ratio, by commas: 2020-08-31:4.")] = None,
    jumps: Annotated[str | None, typer.Option("--jumps", help="`allowed`: prices jumped as in a split.")] = None,
) -> None:
    """Check FILE, and keep its bars in place of what there was of the symbol. A bad file changes nothing."""
    # Imported here: no other command needs what reads bars.
    from adapters.backtesting import BacktestError
    from adapters.backtesting.histories import Options, import_file

    try:
        options = Options.parsed(timezone=timezone, max_gap=max_gap, splits=splits, jumps=jumps)
        known, new = import_file(file, symbol, into, options)
    except BacktestError as error:
        raise CliError(str(error)) from None
    except OSError as error:
        raise CliError(f"{into} cannot be written: {error.strerror}", "name a folder that is yours") from None
    _out.print(table([known], f"{'kept' if new else 'replaced'} in {into}"))


@app.command("list")
def known(folder: Annotated[Path, typer.Option("--from", help="The catalog's folder.")]) -> None:
    """Show what a catalog holds."""
    from adapters.backtesting.histories import Catalog

    if not folder.is_dir():
        raise CliError(f"{folder} is no folder: there are no bars in it", "crossover bars import FILE --into FOLDER")
    _out.print(table(Catalog(folder).all(), str(folder)))


@app.command()
def delete(
    symbol: Annotated[str, typer.Argument(help="As backtests name it.")],
    folder: Annotated[
        Path | None,
        typer.Option("--from", help="The catalog's folder; else the backtesting service's, on the cluster."),
    ] = None,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Delete the bars of SYMBOL. What runs on them came to stays."""
    if folder is None:
        sweeps = KubernetesSweeps(connect(context), namespace)
        answer_of(*sweeps.ask(["delete-bars", "--symbol", symbol], {}))
    else:
        _delete_from(folder, symbol)
    _out.print(f"the bars of {symbol} are deleted", highlight=False)


def _delete_from(folder: Path, symbol: str) -> None:
    from adapters.backtesting.histories import Catalog

    try:
        found = folder.is_dir() and Catalog(folder).delete(symbol)
    except OSError as error:
        raise CliError(f"{folder} cannot be written: {error.strerror}", "name a folder that is yours") from None
    if not found:
        raise CliError(
            f"{folder} holds no bars of {symbol}: nothing was deleted", f"crossover bars list --from {folder}"
        )


def table(histories: list[History], title: str) -> Table:
    """As it is shown: times in UTC."""
    made = Table(title=title, title_justify="left")
    for column in ("symbol", "bars", "of", "first", "last", "source", "sha256"):
        made.add_column(column, justify="right" if column == "bars" else "left", no_wrap=column in {"symbol", "bars"})
    for one in histories:
        times = (at.strftime("%Y-%m-%d %H:%M") for at in (one.first, one.last))
        made.add_row(
            one.symbol, f"{one.count:,}", f"{one.period_seconds} s", *times, one.source, one.sha256[:12]
        )  # fmt: skip
    return made
