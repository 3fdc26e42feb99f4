"""Commands that the console begins: the real runner and the fake."""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.console.runner import MOST_BYTES, ChildRunner, MemoryRunner, Runner, Running

CODE = """
import os, sys
words = sys.argv[1:]
print("words", *words, "actor", os.environ["CROSSOVER_ACTOR"], flush=True)
print("to stderr", file=sys.stderr, flush=True)
assert sys.stdin.read() == ""
if words[0] == "large":
    print("x" * 100_000, flush=True)
sys.exit(3)
"""


def until_ended(running: Running, seconds: float = 20.0) -> int:
    deadline = time.monotonic() + seconds
    while (code := running.code()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # polling with a deadline
    return code


def played(words: list[str]) -> tuple[Runner, Running]:
    runner = MemoryRunner()
    running = runner.begin(words, "ann")
    assert runner.last is not None and running.code() is None
    runner.last.write(f"words {' '.join(words)} actor ann\nto stderr")
    if words[0] == "large":
        runner.last.write("x" * 100_000)
    runner.last.end(3)
    return runner, running


@pytest.fixture(params=["child", "memory"])
def begin(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[list[str]], Running]:
    """Begins a command, and waits for its end."""

    def begun(words: list[str]) -> Running:
        if request.param == "memory":
            return played(words)[1]
        running = ChildRunner(tmp_path, tmp_path / "runs", (sys.executable, "-c", CODE)).begin(words, "ann")
        until_ended(running)
        return running

    return begun


def test_its_output_is_read_from_where_one_was_and_its_end_told(begin: Callable[[list[str]], Running]) -> None:
    running = begin(["migrate", "event_bus"])
    assert running.code() == 3
    whole = running.output(0)
    assert whole == b"words migrate event_bus actor ann\nto stderr\n"
    assert running.output(6) == whole[6:] and running.output(len(whole)) == b"" and running.output(10_000) == b""


def test_one_answer_is_bounded(begin: Callable[[list[str]], Running]) -> None:
    running = begin(["large", "event_bus"])
    first = running.output(0)
    assert len(first) == MOST_BYTES
    assert (first + running.output(MOST_BYTES)).endswith(b"xx\n")


def test_what_a_command_writes_is_nobody_elses_and_it_ends_with_nobody(tmp_path: Path) -> None:
    runner = ChildRunner(
        tmp_path, tmp_path / "runs", (sys.executable, "-c", "import os; print(os.getsid(0), os.getpid())")
    )
    running = runner.begin(["migrate", "event_bus"], "ann")
    assert until_ended(running) == 0
    session, process = running.output(0).split()
    assert session == process  # a session of its own: Ctrl-C in the console's terminal does not reach it
    [file] = (tmp_path / "runs").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_what_cannot_be_begun_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-such-program"):
        ChildRunner(tmp_path, tmp_path / "runs", (str(tmp_path / "no-such-program"),)).begin(["migrate", "x"], "ann")
    runner = MemoryRunner()
    runner.failure = OSError("no-such-program")
    with pytest.raises(OSError, match="no-such-program"):
        runner.begin(["migrate"], "ann")
