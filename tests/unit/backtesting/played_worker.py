"""Workers that are played: real processes, which do in place of a backtest what a job names."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.backtesting_service.pools import JobLimits, Pools
from services.backtesting_service.work import Job, Surroundings

SECONDS = 20.0
GOOD = "send(framed({'files': {'result.json': 5}}) + b'%05d' % (os.getpid() % 100000))"
"""An answer as a worker gives it: its process's number."""
_LINE = """
import json, os, pickle, signal, struct, sys, time
from pathlib import Path

orders, answers = map(int, sys.argv[1:])

def read(size):
    got = b""
    while len(got) < size:
        got += os.read(orders, size - len(got)) or sys.exit()
    return got

def take():
    return json.loads(read(struct.unpack(">Q", read(8))[0]))

def framed(told):
    content = told if isinstance(told, bytes) else json.dumps({"number": number, **told}).encode()
    return struct.pack(">Q", len(content)) + content

def send(content):
    while content:
        content = content[os.write(answers, content):]

class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("bomb"),)

take()
number = ""
send(framed({}))
while True:
    order = take()
    number = order["number"]
    exec(order["job"]["request"])
"""
_OURS = """
import os, signal, sys, time
from pathlib import Path
from adapters.backtesting import BacktestError
from adapters.backtesting.histories import HistoryError, Replaced
from adapters.csv_bars import BarsError
from services.backtesting_service import work, worker

def run(job):
    exec(job.request, globals())
    return {"result.json": b"%05d" % (os.getpid() % 100000)}

work.run = run
sys.exit(worker.main(*map(int, sys.argv[1:])))
"""
"""The worker itself, all but the backtest."""


def alone(limits: JobLimits | None = None, workers: int = 1) -> Pools:
    """Workers that share no code with ours: a job's request is what they do, on the line that they have."""
    return Pools(workers, limits or JobLimits(SECONDS), Surroundings(()), (sys.executable, "-S", "-c", _LINE))


def ours(limits: JobLimits | None = None) -> Pools:
    """Our worker's own loop, confined where the kernel does it: a job's request is what its strategy does."""
    return Pools(1, limits or JobLimits(SECONDS), Surroundings(()), (sys.executable, "-c", _OURS))


@contextmanager
def stopped(pools: Pools) -> Iterator[Pools]:
    """`pools`, and none of their processes afterwards."""
    try:
        yield pools
    finally:
        pools.stop()
        assert children() == set()


def job(act: str, engine: str = "memory") -> Job:
    """An order to do so."""
    return Job("0" * 32, act, engine, (), ())


def children() -> set[int]:
    """The processes of this one that have sessions of their own, as workers do; the dead too until they are reaped."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(told[1]) == os.getpid() and told[3] == place.parent.name:
            found.add(int(told[3]))
    return found


def until(holds: Callable[[], bool]) -> None:
    """Return once it holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
