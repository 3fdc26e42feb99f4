"""What a worker may send, and what becomes of it: whatever it is, one run fails, and the next is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from adapters.backtesting.histories import HistoryError, Replaced
from services.backtesting_service import pools as pools_module
from services.backtesting_service.exchange import JobFailed, failure_of
from services.backtesting_service.pools import JobLimits, Pools, why_failed, worker_environment
from services.backtesting_service.processes import ROOT, Died, Garbled
from services.backtesting_service.work import Job
from tests.unit.backtesting.played_worker import GOOD, SECONDS, alone, children, job, ours, stopped, until

pytestmark = pytest.mark.timeout(60)

NO_JSON = "it is not JSON of the form that is agreed"


def failure(pools: Pools, act: str) -> Exception:
    error = pools.submit(job(act)).exception(SECONDS)
    assert isinstance(error, Exception)
    return error


def result_of(files: str, content: str = "b''") -> str:
    return f"send(framed({{'files': {files}}}) + {content})"


@pytest.mark.parametrize(
    ("act", "says"),
    [
        ("send(pickle.dumps(Bomb()) + bytes(4096))", "bytes, where 65536 are the most"),
        ("send(framed(pickle.dumps(Bomb())))", NO_JSON),
        ("send(os.urandom(1 << 20))", "bytes, where 65536 are the most"),
        ("send(framed(b'{' * 60000))", NO_JSON),
        ("send(framed(b'[' * 60000))", NO_JSON),
        ("send(framed({'failure': {'type': 'x', 'text': '\\ud800'}}))", NO_JSON),
        ("send(struct.pack('>Q', 2 ** 60))", f"it announced {2**60} bytes"),
        (result_of("{'result.json': 2 ** 60}"), f"it announced files of {2**60} bytes, where 1073741824 are the most"),
        (result_of("{'result.json': 10 ** 400}"), "bytes, where 1073741824 are the most"),
        (result_of("{'result.json': 1, '../x': 1}", "b'ab'"), "it named a file that no result has"),
        (result_of("{'result.json': 1, '/tmp/x': 1}", "b'ab'"), "it named a file that no result has"),
        (result_of("{'result.json': 1, 'run.json': 1}", "b'ab'"), "it named a file that no result has"),
        (result_of("{'result.json': -1}"), NO_JSON),
        (result_of("{'result.json': True}", "b'a'"), NO_JSON),
        (result_of("{'equity.parquet': 1}", "b'a'"), "neither a result nor an error"),
        ("number = ''; send(framed({}))", "it answered another order"),
        ("send(framed({}))", "neither a result nor an error"),
        ("send(framed({'files': {'result.json': 0}, 'failure': {'type': 'x', 'text': 'x'}}))", "neither a result nor"),
        ("send(framed({'failure': {'type': 'x', 'text': 'x' * 9000}}))", NO_JSON),
        ("send(framed({'failure': {'type': 'x', 'text': 'x', 'more': 1}}))", NO_JSON),
    ],
)
def test_what_is_no_answer_ends_its_worker_and_fails_its_run_alone(act: str, says: str) -> None:
    with stopped(alone()) as pools:
        error = failure(pools, act)
        assert isinstance(error, Garbled) and says in str(error), error
        text, worker_lost = why_failed(error, pools.limits)
        assert "what its worker sent is no answer" in text and not worker_lost
        assert children() == set()  # whoever hears of it finds it ended
        assert pools.submit(job(GOOD)).result(SECONDS).keys() == {"result.json"}
    assert not (ROOT / "bomb").exists()


def test_what_is_sent_unasked_is_nobodys_answer() -> None:
    with stopped(alone()) as pools:
        first = pools.submit(job(f"{GOOD}; send(framed({{'files': {{'result.json': 5}}}}) + b'wrong')"))
        number = first.result(SECONDS)["result.json"]
        time.sleep(0.2)
        second = pools.submit(job(GOOD)).result(SECONDS)["result.json"]
        assert second not in (b"wrong", number)


def test_what_a_run_did_to_its_worker_costs_the_next_one_a_try_and_no_more() -> None:
    ahead = "real = take\ndef take(): return {**real(), 'number': 'guessed'}"
    with stopped(alone()) as pools:
        pools.submit(job(f"{GOOD}\n{ahead}")).result(SECONDS)
        text, worker_lost = why_failed(failure(pools, GOOD), pools.limits)
        assert "what its worker sent is no answer" in text and "it answered another order" in text and worker_lost
        assert pools.submit(job(GOOD)).result(SECONDS)


@pytest.mark.parametrize(
    "act",
    [
        "os._exit(0)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.close(answers); time.sleep(60)",
        f"{result_of("{'result.json': 9}", "b'half'")}; os._exit(0)",
        # what it started holds its line open, and says nothing
        "os.fork() and os._exit(0); time.sleep(60)",
    ],
)
def test_a_worker_that_dies_is_replaced_and_its_run_is_told_apart(act: str) -> None:
    with stopped(alone()) as pools:
        error = failure(pools, act)
        assert isinstance(error, Died)
        text, worker_lost = why_failed(error, pools.limits)
        assert worker_lost and text.startswith("the worker died under it, more than once")
        assert children() == set()
        assert pools.submit(job(GOOD)).result(SECONDS)


@pytest.mark.parametrize(
    "act",
    [
        "time.sleep(60)",
        "send(struct.pack('>Q', 100) + b'half'); time.sleep(60)",
        f"{result_of("{'result.json': 9}", "b'half'")}; time.sleep(60)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "while True: pass",
    ],
)
def test_a_run_past_its_limit_is_ended(act: str) -> None:
    with stopped(alone(JobLimits(0.5))) as pools:
        began = time.monotonic()
        assert why_failed(failure(pools, act), pools.limits) == (
            "it ran longer than 0.5 s, which is the limit of one run, and was ended", False,
        )  # fmt: skip
        assert children() == set() and time.monotonic() - began < 10
        assert pools.submit(job(GOOD)).result(SECONDS)


def test_a_worker_that_takes_no_order_is_ended_too() -> None:
    with stopped(alone(JobLimits(0.5))) as pools:
        pools.submit(job(GOOD + "; time.sleep(60)")).result(SECONDS)
        assert isinstance(pools.submit(job("#" * (1 << 20))).exception(SECONDS), TimeoutError)
        assert pools.submit(job(GOOD)).result(SECONDS)


def test_an_answer_may_come_byte_by_byte() -> None:
    act = "for byte in framed({'files': {'result.json': 500}}) + bytes(500): send(bytes([byte]))"
    with stopped(alone()) as pools:
        assert pools.submit(job(act)).result(SECONDS) == {"result.json": bytes(500)}


def test_a_result_is_as_large_as_a_run_may_be() -> None:
    most = 1 << 20
    with stopped(alone(JobLimits(SECONDS, memory_mib=1))) as pools:
        found = pools.submit(job(result_of(f"{{'result.json': {most}}}", f"bytes({most})"))).result(SECONDS)
        assert len(found["result.json"]) == most
    with stopped(alone(JobLimits(SECONDS, memory_mib=1))) as pools:
        error = pools.submit(job(result_of(f"{{'result.json': {most}, 'strategy.py': 1}}"))).exception(SECONDS)
        assert isinstance(error, Garbled)


def test_what_is_cancelled_ends_with_what_it_started_and_nobody_else(tmp_path: Path) -> None:
    act = f"os.fork(); Path({str(tmp_path)!r}, str(os.getpid())).touch(); time.sleep(60)"
    with stopped(alone(workers=2)) as pools:
        other = pools.submit(job("time.sleep(1); " + GOOD))
        future = pools.submit(job(act))
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        numbers = {int(path.name) for path in tmp_path.iterdir()}
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result()
        until(lambda: not any(alive(number) for number in numbers))
        assert other.result(SECONDS)
        assert pools.submit(job(GOOD)).result(SECONDS)


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_waits_for_a_worker_can_be_cancelled_and_takes_none() -> None:
    with stopped(alone()) as pools:
        first, second = pools.submit(job("time.sleep(0.3); " + GOOD)), pools.submit(job("os._exit(1)"))
        assert second.cancel()
        number = first.result(SECONDS)
        assert pools.submit(job(GOOD)).result(SECONDS) == number


def test_two_workers_work_at_once_and_a_worker_is_made_when_it_is_needed(tmp_path: Path) -> None:
    def meets(mine: str, other: str) -> Job:
        wait = f"while not Path({str(tmp_path / other)!r}).exists(): time.sleep(0.01)"
        return job(f"Path({str(tmp_path / mine)!r}).touch()\n{wait}\n{GOOD}")

    with stopped(alone(workers=2)) as pools:
        for _ in range(3):
            pools.submit(job(GOOD)).result(SECONDS)
        assert len(children()) == 1
        found = [pools.submit(meets("a", "b")), pools.submit(meets("b", "a"))]
        assert len({future.result(SECONDS)["result.json"] for future in found}) == 2


def test_stop_ends_what_runs_and_what_waits() -> None:
    heard = threading.Event()
    with stopped(alone(workers=2)) as pools:
        futures = [pools.submit(job("time.sleep(60)")) for _ in range(3)]
        futures[-1].add_done_callback(lambda _: heard.set())
        until(lambda: len(children()) == 2)
        pools.stop()
        assert all(future.cancelled() for future in futures) and heard.is_set()


def test_the_workers_of_an_engine_that_is_not_deployed_any_more_are_ended() -> None:
    with stopped(alone()) as pools:
        for engine in ("memory", "other"):
            pools.submit(job(GOOD, engine)).result(SECONDS)
        assert pools.engines == {"memory", "other"} and len(children()) == 2
        pools.close_but({"other"})
        assert pools.engines == {"other"} and len(children()) == 1


def test_what_a_strategy_prints_is_no_answer() -> None:
    act = "print('x' * 100000); os.write(1, bytes(1 << 17)); os.system('echo printed')"
    with stopped(ours()) as pools:
        assert pools.submit(job(act)).result(SECONDS)


def test_memory_beyond_its_limit_is_told_and_its_worker_goes_on() -> None:
    with stopped(ours(JobLimits(SECONDS, memory_mib=64))) as pools:
        first = pools.submit(job("")).result(SECONDS)
        assert why_failed(failure(pools, "bytearray(1 << 30)"), pools.limits) == (
            "it needed more than 64 MiB, which is the limit of one run", False,
        )  # fmt: skip
        assert type(failure(pools, "import numpy; numpy.ones(1 << 28)")) is MemoryError
        assert pools.submit(job("")).result(SECONDS) == first


def test_errors_are_told_by_their_names_and_texts() -> None:
    odd = "class Odd(Exception):\n def __str__(self): raise SystemExit\nraise Odd"
    with stopped(ours()) as pools:

        def told(act: str) -> tuple[Exception, str]:
            error = failure(pools, act)
            return error, why_failed(error, pools.limits)[0]

        for name in ("BacktestError", "BarsError", "ValueError", "HistoryError", "Replaced", "TimeoutError"):
            assert told(f"raise {name}('why: {name}')")[1] == f"{name}: why: {name}"
        assert type(told("raise HistoryError('x')")[0]) is HistoryError
        assert type(told("raise Replaced('x')")[0]) is Replaced
        assert told("raise type('Of' + 'Mine', (Exception,), {})('\\ud800' + 'x' * 10000)")[1] == (
            "OfMine: ?" + "x" * 7999
        )
        assert told(odd)[1] == "Odd: it gives no text"
        assert pools.submit(job("")).result(SECONDS)


def test_a_failure_is_told_where_its_text_ends_the_process() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert failure_of(Odd()).text == "it gives no text"


def test_signals_to_the_group_end_no_worker_and_one_that_died_idle_costs_no_run() -> None:
    with stopped(ours()) as pools:
        first = pools.submit(job("")).result(SECONDS)
        (number,) = children()
        for sent in (signal.SIGINT, signal.SIGTERM):
            os.kill(number, sent)
        assert pools.submit(job("")).result(SECONDS) == first
        os.kill(number, signal.SIGKILL)
        os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
        assert pools.submit(job("")).result(SECONDS) != first


def test_a_worker_that_cannot_be_started_is_a_worker_that_died() -> None:
    with stopped(alone()) as pools:
        pools._command = ("/nowhere/python",)
        error = failure(pools, GOOD)
        assert isinstance(error, Died) and "No such file" in str(error)
    assert JobFailed(failure_of(ValueError("x"))).told.args == ("ValueError: x",)


def test_a_worker_that_never_comes_to_be_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools_module, "START_SECONDS", 0.3)
    with stopped(alone()) as pools:
        pools._command = (sys.executable, "-S", "-c", "import time; time.sleep(60)")
        error = failure(pools, GOOD)
        assert isinstance(error, Died) and "not within 0.3 s" in str(error)
        assert children() == set()


_SERVICE = """
import time
from tests.unit.backtesting.played_worker import children, job, ours
pools = ours()
pools.submit(job("")).result(20)
print(*children(), flush=True)
pools.submit(job("while True: pass"))
time.sleep(60)
"""


def test_a_service_that_is_killed_leaves_no_worker_behind() -> None:
    service = subprocess.Popen([sys.executable, "-c", _SERVICE], cwd=ROOT, stdout=subprocess.PIPE)
    with service:
        assert service.stdout is not None
        number = int(service.stdout.readline())
        time.sleep(0.2)
        service.kill()
    until(lambda: not alive(number))


def test_workers_cache_compiled_code_where_nothing_unconfined_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert "-workers-numba" in worker_environment()["NUMBA_CACHE_DIR"]
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/named")  # as in a pod, which has nothing beside its workers
    assert worker_environment()["NUMBA_CACHE_DIR"] == "/named"
