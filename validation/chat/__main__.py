"""`python -m validation.chat`: ask a language model under load, and judge what became of the answers."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from contracts.names import ENV_LLM_ORCHESTRATOR_URL
from validation.chat.account import Book, read
from validation.chat.calling import BadAddress, Caller
from validation.chat.judging import WHOLE, Limits, judge, judge_window
from validation.chat.load import Load, Schedule
from validation.load.__main__ import say, stop_signal
from validation.load.meeting import stop_path
from validation.load.telling import ended, tell, windows_of
from validation.result import Report

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Option(help="The folder in which the run is written down.")]


@app.callback()
def setup() -> None:
    """Conversations under load, and the proof of what became of their answers."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")


@app.command()
def run(
    *,
    folder: Folder,
    run: Annotated[str, typer.Option(help="The mark of this run; it stands in the conversations' names.")],
    rate: Annotated[float, typer.Option(help="Calls a second over all conversations.", min=0.01)] = 1.5,
    seconds: Annotated[float, typer.Option(help="At most so long.", min=1)] = 1800.0,
    conversations: Annotated[int, typer.Option(min=1, max=256)] = 32,
    max_tokens: Annotated[int, typer.Option(help="Of an answer.", min=1)] = 16,
    timeout: Annotated[float, typer.Option(help="Longest wait for the next byte, in seconds.", min=0.1)] = 120.0,
) -> None:
    """Ask on a fixed schedule until --seconds, SIGTERM, or `stop`; what is under way then is heard out."""
    stopped = stop_signal()
    schedule = Schedule(rate=rate, seconds=seconds, conversations=conversations, max_tokens=max_tokens)
    caller = _caller(timeout)
    book = Book(_path(folder))
    say(f"asking {rate:g} times a second in {conversations} conversations")
    fates = Load(caller, run, schedule, book, say).run(lambda: stopped.is_set() or stop_path(folder).exists())
    book.close()  # only here: a run that was cut off must not say that it ended
    say(f"ended: {dict(fates)}")


@app.command()
def stop(folder: Folder) -> None:
    """End the load of the run in --folder; answers under way are heard out."""
    stop_path(folder).touch()


@app.command()
def verify(
    *,
    folder: Folder,
    window: Annotated[list[str] | None, typer.Option(help="NAME=START:END in ns since 1970 UTC.")] = None,
    min_rate: Annotated[float, typer.Option(help="Calls a second that must have been made.", min=0)] = 0.5,
    max_ttft_ms: Annotated[float | None, typer.Option(help="First token of 95 % of the streams.")] = None,
    max_gap_ms: Annotated[float | None, typer.Option(help="Longest gap between two chunks.")] = None,
    wait: Annotated[float, typer.Option(help="How long what is under way may take to end, in seconds.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON, for machines.")] = False,
) -> None:
    """Judge a run: exit status 0 where it holds, 1 where it does not, 3 where it could not be checked.

    Each --window holds one switch, in which a conversation may change sides once.
    """
    windows, account = windows_of(window), ended(_path(folder), read, wait)
    limits = Limits(min_rate=min_rate, max_ttft_ms=max_ttft_ms, max_gap_ms=max_gap_ms)
    reports: dict[str, Report] = {WHOLE: judge(account, limits, len(windows) or None)}
    reports |= {name: judge_window(name, account, span, limits) for name, span in windows.items()}
    tell(reports, as_json=as_json)


def _path(folder: Path) -> Path:
    return folder / "chats.jsonl"


def _caller(timeout: float) -> Caller:
    url = os.environ.get(ENV_LLM_ORCHESTRATOR_URL)
    if not url:
        raise typer.BadParameter(f"{ENV_LLM_ORCHESTRATOR_URL} is not set: there is nobody to ask")
    try:
        return Caller(url, timeout)
    except BadAddress as error:
        raise typer.BadParameter(f"{ENV_LLM_ORCHESTRATOR_URL}: {error}") from error


if __name__ == "__main__":
    app()
