"""The load of conversations: on a real model behind the orchestrator, and against a server that breaks answers."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.message import Message
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.names import ENV_LLM_ORCHESTRATOR_URL
from tests.contract import llama_server
from tests.contract.orchestrator_server import HOSTED, orchestrator
from validation.chat.__main__ import app
from validation.chat.account import UNKNOWN, Account, Book, Call, Fate, read
from validation.chat.calling import Asked, Caller
from validation.chat.judging import WHOLE, Limits, judge
from validation.chat.load import ALIASES, Load, Schedule
from validation.load import verifying
from validation.result import Report, Verdict

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-crossover-backend: hosted\r\n"
CHUNKED = EVENTS + b"transfer-encoding: chunked\r\n\r\n"
CLOSING = EVENTS + b"connection: close\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
REFUSAL = (
    b'HTTP/1.1 503 no\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{"error": {"message": "away"}}'
)
DONE = b"data: [DONE]\n\n"
Play = Callable[[socket.socket, int], None]


def event(number: int, *, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": "up"}, "finish_reason": finish}
    return b"data: " + json.dumps({"id": f"a-{number}", "model": "played", "choices": [choice]}).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextmanager
def played(play: Play) -> Iterator[str]:
    """A server that lets `play` answer each connection, which are numbered; its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            number = 0
            while True:
                try:
                    taken, _ = listener.accept()
                except OSError:
                    return  # closed: the test is over
                threading.Thread(target=answer, args=(taken, number), daemon=True).start()
                number += 1

        def answer(taken: socket.socket, number: int) -> None:
            with taken:
                with taken.makefile("rb") as request:
                    # All of it: a connection that is closed with something unread is reset.
                    headers = http.client.parse_headers(request) if request.readline() else Message()
                    request.read(int(headers["content-length"] or 0))
                play(taken, number)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def called(play: Play, *, streamed: bool = True, timeout: float = 10.0) -> Call:
    """What becomes of one call."""
    with played(play) as url:
        return Caller(url, timeout).call(Call("c", "c", streamed, 1, 1), Asked({"stream": streamed}))


def says(*parts: bytes) -> Play:
    return lambda taken, _: taken.sendall(b"".join(parts))


def resets(*parts: bytes) -> Play:
    """As a server that is killed: what the caller has not read yet is gone."""

    def play(taken: socket.socket, number: int) -> None:
        says(*parts)(taken, number)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return play


def falls_silent(taken: socket.socket, number: int) -> None:
    says(CHUNKED, chunk(event(1)))(taken, number)
    taken.recv(1)  # until the caller gives up


WHOLE_STREAM = (CHUNKED, chunk(event(1)), chunk(event(1, finish="stop") + DONE), b"0\r\n\r\n")
PIECE = json.dumps(
    {"id": "a", "model": "played", "choices": [{"message": {"content": "up"}, "finish_reason": "stop"}]}
).encode()


@pytest.mark.parametrize(
    ("play", "streamed", "fate", "error"),
    [
        (says(*WHOLE_STREAM), True, Fate.WHOLE, ""),
        (says(CLOSING, event(1), event(1, finish="stop"), DONE), True, Fate.WHOLE, ""),
        (says(JSON, PIECE), False, Fate.WHOLE, ""),
        (says(REFUSAL), True, Fate.REFUSED, "503: away"),
        (says(REFUSAL), False, Fate.REFUSED, "503: away"),
        (says(), True, Fate.REFUSED, "RemoteDisconnected"),
        (says(CHUNKED, chunk(event(1))), True, Fate.TORN, "IncompleteRead"),
        (resets(CHUNKED, chunk(event(1))), True, Fate.TORN, ""),
        (falls_silent, True, Fate.TORN, "timed out"),
        (says(JSON.replace(b"close", b"close\r\ncontent-length: 999"), PIECE), False, Fate.TORN, "IncompleteRead"),
        (says(CHUNKED, chunk(event(1)), b"0\r\n\r\n"), True, Fate.CUT, "without a finish_reason"),
        (says(CLOSING, event(1)), True, Fate.CUT, "without a finish_reason"),
        (says(JSON, PIECE), True, Fate.CUT, "application/json was not asked for"),
        (says(*WHOLE_STREAM), False, Fate.CUT, "text/event-stream was not asked for"),
        (says(CLOSING, event(1), b'data: {"error": {"message": "broke"}}\n\n'), True, Fate.BROKEN, "broke"),
    ],
)
def test_what_becomes_of_a_call_is_told(play: Play, streamed: bool, fate: Fate, error: str) -> None:
    call = called(play, streamed=streamed, timeout=0.5)
    assert call.fate is fate, call
    assert error in call.error
    assert call.ended > call.began


def test_who_answered_is_taken_from_the_answer_alone() -> None:
    call = called(says(*WHOLE_STREAM))
    assert (call.backend, call.model, call.answer, call.chunks) == ("hosted", "played", "a-1", 2)
    assert called(says(JSON, PIECE), streamed=False).backend == UNKNOWN


def test_nobody_there_is_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    call = Caller(url, 1).call(Call("c", "c", True, 1, 1), Asked({}))
    assert call.fate is Fate.REFUSED and "ConnectionRefused" in call.error


def test_a_load_under_a_switch_is_judged_by_who_answered(tmp_path: Path) -> None:
    """The sides change in mid-run; then one conversation's side changes back."""
    began = time.monotonic()

    def play(taken: socket.socket, number: int) -> None:
        side = b"vllm" if time.monotonic() - began > 1 else b"hosted"
        said = b"".join((CLOSING, event(number), event(number, finish="stop"), DONE))
        taken.sendall(said.replace(b"hosted", side))

    book, said = Book(tmp_path / "chats.jsonl"), list[str]()
    schedule = Schedule(rate=40, seconds=2, conversations=8)
    with played(play) as url:
        # A conversation's every fourth call asks for one piece, which this server does not give.
        fates = Load(Caller(url, 10), "r", schedule, book, said.append).run(lambda: False)
    book.close()
    account = read(tmp_path / "chats.jsonl")
    assert account.closed and len(account.calls) == fates.total() > 30
    assert "whole" in said[-1] and "0 under way" in said[-1]
    streams = Account(tuple(call for call in account.calls if call.streamed), True)
    limits = Limits(min_rate=10)
    assert judge(streams, limits, 1).overall() is Verdict.HOLDS, judge(streams, limits, 1).failures()
    assert judge(streams, limits, 1).figures["moved"] == 8
    assert [check.name for check in judge(streams, limits, 0).failures()] == ["conversations stay"]
    assert [check.name for check in judge(account, limits, 1).failures()] == ["nothing lost"]


@contextmanager
def asking(url: str, folder: Path, max_tokens: int) -> Iterator[Callable[[Fate], None]]:
    """`python -m validation.chat run` as a pod runs it, and a wait for a call of a fate, which takes no longer than the
    call; the run must end well once it is stopped."""
    command = [sys.executable, "-m", "validation.chat", "run", "--folder", str(folder), "--run", "r"]
    command += ["--rate", "2", "--conversations", "2", "--seconds", "60", "--max-tokens", str(max_tokens)]
    environment = {"PATH": os.environ["PATH"], ENV_LLM_ORCHESTRATOR_URL: url}
    with subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE, env=environment) as process:
        try:
            yield lambda fate: await_fate(process, folder, fate)
            assert CliRunner().invoke(app, ["stop", "--folder", str(folder)]).exit_code == 0
            _, said = process.communicate(timeout=60)
            assert process.returncode == 0, said
        finally:
            process.kill()


def await_fate(process: subprocess.Popen[str], folder: Path, fate: Fate) -> None:
    path, deadline = folder / "chats.jsonl", time.monotonic() + PATIENCE
    while not path.exists() or all(call.fate is not fate for call in read(path).calls):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)  # a file announces nothing


def verified(folder: Path, status: int) -> Report:
    done = CliRunner().invoke(app, ["verify", "--folder", str(folder), "--json", "--wait", "60", "--min-rate", "0.01"])
    assert done.exit_code == status, done.output
    return verifying.from_json(done.stdout)[WHOLE]


def test_a_real_model_answers_whole_and_its_death_is_seen(parts: Path, tmp_path: Path) -> None:
    calm, hurt = tmp_path / "calm", tmp_path / "hurt"
    with ExitStack() as mortal, ExitStack() as stack:
        model = mortal.enter_context(llama_server.llama(parts, tmp_path))
        models = dict.fromkeys(ALIASES, llama_server.MODEL)
        at = stack.enter_context(orchestrator(model, models, llama_server.API_KEY, tmp_path / "orchestrator.log"))
        with asking(at.url, calm, max_tokens=4) as until:
            until(Fate.WHOLE)
        with asking(at.url, hurt, max_tokens=12) as until:
            until(Fate.WHOLE)
            mortal.close()  # SIGKILL
            until(Fate.REFUSED)
    figures = verified(calm, 0).figures
    assert figures["acknowledged"] >= figures["streams"] >= 1
    assert figures[f"acknowledged_{HOSTED}"] == figures["acknowledged"]  # the orchestrator says who answered
    assert 0 < figures["ttft_ms_p50"] <= figures["ttft_ms_p95"]
    told = {check.name for check in verified(hurt, 1).failures()}
    assert "no call refused" in told and told <= {"no call refused", "nothing broken"}
    fates = {call.fate for call in read(hurt / "chats.jsonl").calls}
    assert fates <= {Fate.WHOLE, Fate.BROKEN, Fate.REFUSED}  # the orchestrator tells each caller that it broke
