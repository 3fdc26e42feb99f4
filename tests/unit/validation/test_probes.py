"""A prober against a real server that fails and stalls for a known time, and the judge of what it wrote down."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, override

import pytest
from typer.testing import CliRunner

from contracts.names import ENV_PROBES
from validation.ledger import Window
from validation.load.verifying import from_json
from validation.probes.__main__ import app
from validation.probes.account import Account, Book, Probe, read
from validation.probes.asking import BadTarget, Target, ask, targets_of
from validation.probes.judging import WHOLE, Limits, judge, judge_window, measured, within
from validation.probes.prober import Prober, Schedule
from validation.result import Verdict

MS = 1_000_000
RATE, SECONDS = 20.0, 2.0
HELD = "held"


@dataclass
class Script:
    """What the server does with the probe of a number, from 0: a status, `HELD`, `cut`, or 200 where it is not named.
    `HELD` ones are answered together, at `until` in monotonic seconds."""

    acts: dict[int, int | str] = field(default_factory=dict)
    until: float = 0.0
    came: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> int | str:
        with self.lock:
            number, self.came = self.came, self.came + 1
        return self.acts.get(number, 200)


class Quick(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


@contextmanager
def server(script: Script) -> Iterator[str]:
    """Its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            act = script.next()
            if act == HELD:
                time.sleep(max(0.0, script.until - time.monotonic()))  # the stall that is to be measured
            self.send_response(act if isinstance(act, int) else 200)
            self.send_header("content-length", "9" if act == "cut" else "2")
            self.end_headers()
            self.wfile.write(b"ok")

        @override
        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    with Quick(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}/x?y=1"
        http.shutdown()
        thread.join()


def run(folder: Path, *targets: Target, timeout: float = 5.0) -> Account:
    book = Book(folder / "probes.jsonl")
    schedule = Schedule(rate=RATE, seconds=SECONDS, timeout=timeout)
    Prober(targets, schedule, book, lambda line: None).run(lambda: False)
    book.close()
    return read(folder / "probes.jsonl")


def test_a_service_that_fails_for_a_known_time_is_told_to_the_probe(tmp_path: Path) -> None:
    with server(Script(dict.fromkeys(range(10, 16), 503))) as failing, server(Script()) as good:
        account = run(tmp_path, Target("failing", failing), Target("good", good))
    found = measured(account.probes)
    assert (found["good"].asked, found["good"].failed, found["good"].outage_ms_max) == (40, 0, 0.0)
    assert (found["failing"].asked, found["failing"].failed) == (40, 6)
    (outage,) = found["failing"].outages
    assert (outage.probes, outage.reasons) == (6, ("503: ok",))
    assert outage.ms == pytest.approx(6 * 50, abs=0.01)  # from when the first was due to when the next good one was
    first = min(probe.due for probe in account.probes if probe.service == "failing")
    assert outage.start - first == pytest.approx(10 * 50 * MS, abs=10)


def test_a_stall_is_what_each_caller_would_have_waited_who_came_meanwhile(tmp_path: Path) -> None:
    """Not one slow request: a prober that waited for its answers would have asked once in the stall."""
    script = Script(dict.fromkeys(range(8, 20), HELD))
    script.until = time.monotonic() + 10 * 0.05 + 0.75
    with server(script) as url:
        account = run(tmp_path, Target("stalled", url))
    found = measured(account.probes)["stalled"]
    assert (found.asked, found.failed) == (40, 0)
    slow = [probe.latency_ms for probe in account.probes if probe.latency_ms > 150]
    assert 8 <= len(slow) <= 14, slow  # twelve were held, those at the end but for a moment
    assert 600 < found.max_ms < 1500
    # Each waited 50 ms less than the one before it.
    assert slow[0] - slow[5] == pytest.approx(250, abs=100)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("cut", "broken off 7 bytes before its end"),
        (HELD, "no answer within 0.3 s"),
        (404, "404: ok"),
        (301, "301: ok"),
    ],
)
def test_what_is_no_good_answer_says_why(act: int | str, reason: str) -> None:
    script = Script({0: act}, until=time.monotonic() + 0.6)
    with server(script) as url:
        assert ask(Target("x", url), 0.3) == reason


def test_nobody_there_is_a_failure_too() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    assert ask(Target("x", url), 1.0).startswith("ConnectionRefusedError")


@pytest.mark.parametrize(
    ("texts", "why"),
    [([], "no target"), (["a=ftp://x/"], "'a' cannot be asked"), (["=http://x/"], "cannot be asked"),
     (["a=http://u:secret@x/"], "without credentials"), (["a=http://x/", "a=http://y/"], "twice")],
)  # fmt: skip
def test_a_target_that_cannot_be_asked_is_refused(texts: list[str], why: str) -> None:
    with pytest.raises(BadTarget, match=why) as refused:
        targets_of(texts)
    assert "secret" not in str(refused.value)


def probes(*, late: int = 0, slow: int = 0, failed: tuple[int, ...] = (), count: int = 41) -> list[Probe]:
    """`count` probes of service `a`, 50 ms apart; number 5 is sent `late` ms late, and answered after `slow` ms."""
    made = []
    for number in range(count):
        due = number * 50 * MS
        sent = due + (late * MS if number == 5 else 0)
        ended = sent + (slow if number == 5 else 2) * MS
        made.append(Probe("a", due, sent, ended, "500: x" if number in failed else ""))
    return made


LIMITS = Limits(max_stall_ms=100)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (probes(), Verdict.HOLDS),
        (probes(slow=101), Verdict.DOES_NOT_HOLD),
        (probes(late=101), Verdict.COULD_NOT_CHECK),  # the prober's own fault proves nothing of the service
        (probes(late=50, slow=101), Verdict.DOES_NOT_HOLD),
        (probes(failed=(7,)), Verdict.DOES_NOT_HOLD),
        (probes(failed=(40,)), Verdict.DOES_NOT_HOLD),
        (probes()[::4], Verdict.COULD_NOT_CHECK),
        ([], Verdict.COULD_NOT_CHECK),
    ],
)
def test_the_verdict(seen: list[Probe], verdict: Verdict) -> None:
    assert judge(Account(seen, True), ["a"], LIMITS).overall() is verdict


def test_who_was_never_asked_and_a_run_that_was_cut_off_prove_nothing() -> None:
    assert judge(Account(probes(), True), ["a", "b"], LIMITS).overall() is Verdict.COULD_NOT_CHECK
    assert judge(Account(probes(), False), ["a"], LIMITS).overall() is Verdict.COULD_NOT_CHECK


def test_outages_are_told_apart_and_the_longest_counts() -> None:
    found = measured(probes(failed=(3, 4, 10, 11, 12, 40)))["a"]
    assert [(outage.probes, outage.ms) for outage in found.outages] == [(2, 100.0), (3, 150.0), (1, 2.0)]
    assert (found.failed, found.outage_ms_max, found.p50_ms, found.seconds) == (6, 150.0, 2.0, 2.0)
    (check,) = judge(Account(probes(failed=(3, 4)), True), ["a"], Limits()).failures()
    assert check.detail == "from 1970-01-01T00:00:00.150Z for 100 ms (2): 500: x"


def test_a_window_holds_what_was_due_in_it() -> None:
    account = Account(probes(failed=(3,)), True)
    clean = Window(200 * MS, 2050 * MS)
    assert judge_window("w", account, clean, ["a"], LIMITS).overall() is Verdict.HOLDS
    assert judge_window("w", account, Window(0, 1000 * MS), ["a"], LIMITS).overall() is Verdict.DOES_NOT_HOLD
    assert len(within(account.probes, clean)) == 37


def test_the_program_asks_is_stopped_and_judges_and_shows(tmp_path: Path) -> None:
    said = CliRunner()
    with server(Script({3: 500})) as url:
        asked = said.invoke(app, ["run", "--folder", str(tmp_path), "--target", f"a={url}", "--seconds", "1"])
    assert asked.exit_code == 0, asked.output
    judged = said.invoke(app, ["verify", "--folder", str(tmp_path), "--json"])
    assert judged.exit_code == 1
    reports = from_json(next(line for line in judged.output.splitlines() if line.startswith("{")))
    assert (reports[WHOLE].figures["a asked"], reports[WHOLE].figures["a failed"]) == (20.0, 1.0)
    assert said.invoke(app, ["verify", "--folder", str(tmp_path), "--max-failed", "1"]).exit_code == 0
    assert said.invoke(app, ["verify", "--folder", str(tmp_path), "--service", "b"]).exit_code == 3
    lines = (tmp_path / "probes.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "probes.jsonl").write_text("".join(lines[:-1]))  # as it is while it goes on
    for more, status in (["--wait", "0"], 3), (["--running"], 0):
        judged = said.invoke(app, ["verify", "--folder", str(tmp_path), "--max-failed", "1", *more])
        assert judged.exit_code == status, judged.output
    shown = json.loads(said.invoke(app, ["show", "--folder", str(tmp_path)]).output)
    assert shown[WHOLE]["a"]["outages"][0]["reasons"] == ["500: ok"]


def test_stop_ends_a_run_that_is_asked_for_as_its_pod_is(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["stop", "--folder", str(tmp_path)]).exit_code == 0
    options = ["--folder", str(tmp_path), "--run", "r1", "--rate", "20", "--seconds", "3600"]
    with server(Script()) as url:
        asked = CliRunner().invoke(app, ["run", *options], env={ENV_PROBES: f"a={url} b={url}"})
    assert asked.exit_code == 0 and "r1: a, b are each asked 20 times a second" in asked.output
    assert read(tmp_path / "probes.jsonl").closed
