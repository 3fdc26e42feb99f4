"""`python -m local.demo`: what `make demo` runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from contracts.stages import Stage
from local.cluster.settings import ROOT
from local.demo import figures
from local.demo.commands import CommandFailed
from local.demo.journey import COMPONENT, REPORT, Journey, Wishes, set_up
from local.demo.load import LoadFailed
from local.demo.pod import EFFECTS_OF, GROUPS, NoTemplate
from local.demo.trading import NotTrading
from local.setup.progress import console
from validation.result import Verdict

INTERRUPTED = 130
_TABLES = {"bank": figures.bank_table, "llm": figures.chat_table, "backtests": figures.backtest_table}


def wishes(arguments: list[str]) -> tuple[Wishes, bool]:
    """What the command line asks for, and whether to set up first."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    default = Wishes()
    parser.add_argument("--around", type=float, default=default.around, help="seconds of load around each switch")
    parser.add_argument("--rate", type=float, default=default.rate, help="events per second offered")
    parser.add_argument("--min-rate", type=float, default=default.min_rate, help="below it the proof does not count")
    parser.add_argument("--transfers", type=float, default=default.transfers, help="of the bank a second; 0: no bank")
    parser.add_argument("--chats", type=float, default=default.chats, help="calls of the model a second; 0: none")
    parser.add_argument("--backtests", type=float, default=default.backtests, help="runs asked for a second; 0: none")
    parser.add_argument("--end", choices=["shadow", "mvp"], default="shadow", help="where to leave what was moved")
    parser.add_argument("--no-setup", action="store_true", help="the stack is up already")
    given = parser.parse_args(arguments)
    asked = Wishes(
        around=given.around, rate=given.rate, min_rate=given.min_rate, transfers=given.transfers, chats=given.chats,
        backtests=given.backtests, end=Stage(given.end),
    )  # fmt: skip
    return asked, not given.no_setup


def line(text: str) -> None:
    """A line of a command's output, as it came."""
    console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)


def demonstrate(asked: Wishes, root: Path) -> int:
    """Run it and tell the end; the exit status."""
    journey = Journey(root, asked, line)
    try:
        body = journey.run()
    except KeyboardInterrupt:
        console.print("\n[yellow]interrupted[/yellow]: the load is ended and removed; please wait")
        journey.tidy()
        raise
    finally:
        journey.close()
    console.print(figures.table(body, len(GROUPS)))
    for part, table in _TABLES.items():
        if part in body:
            console.print(table(body))
    effects = body["effects"]["figures"]
    if effects:
        console.print(
            f"{EFFECTS_OF}: {effects.get('delivered', 0):,.0f} effects in its database for "
            f"{effects['acknowledged']:,.0f} acknowledged events; lost {effects.get('lost', 0):.0f}, "
            f"reordered {effects.get('reordered', 0):.0f}, changed {effects.get('changed', 0):.0f}"
        )
    console.print(f"figures: {REPORT}")
    if body["verdict"] == Verdict.HOLDS.value:
        console.print("[green]holds[/green]: nothing lost, doubled, reordered or changed; no caller saw an error")
        console.print("The same by hand: . .crossover/env; pulumi config set --path", end=" ")
        console.print(f"crossover:{COMPONENT.value}.stage scale; pulumi up", markup=False)
        return 0
    for entry in body["switches"]:
        for failure in entry["failures"]:
            console.print(f"[red]{entry['component']}: {entry['from']} → {entry['to']}[/red]:", end=" ")
            console.print(failure, markup=False)
    parts = [body[name] for name in ("whole", "effects", *_TABLES) if name in body]
    for failure in [*(failure for part in parts for failure in part["failures"]), body["problem"] or ""]:
        console.print(failure, markup=False)
    console.print(f"[red]{body['verdict'].replace('_', ' ')}[/red]")
    return 1


def main(arguments: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    asked, with_setup = wishes(arguments)
    try:
        if with_setup:
            set_up(ROOT, dict(os.environ), line)
        return demonstrate(asked, ROOT)
    except KeyboardInterrupt:
        console.print("Nothing is left half-way that `make demo` would not pick up; `make down` removes everything")
        return INTERRUPTED
    except (CommandFailed, LoadFailed, NotTrading, NoTemplate) as error:
        console.print("[red]error:[/red]", end=" ")
        console.print(str(error), markup=False)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
