"""What the pooler costs on the way to the database: the bank's transaction through PgBouncer, and past it.

Both ways end in the same server, under the same role. It does not wait for its disk, which would hide the pooler; the
client, in Python, is part of what is measured on either way.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
import uuid
from dataclasses import dataclass
from functools import partial

from adapters.postgres.driver import Address, connect
from adapters.postgres.transfers import Money, prepare, transfer
from benchmarks.frame import Figure, ratios, take_turns
from tests.contract.database_world import database_servers, database_world
from validation.bank.load import ACCOUNTS

ROUNDS = 5
SECONDS = 2.0
"""Of a round, on either way."""
CLIENTS = 4
"""Of which the rate is taken; how long a transaction takes is asked of one alone."""
_STATEMENTS = 5
"""Round trips of a transaction."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The milliseconds of each transaction of a round, and how many there were in a second."""

    milliseconds: tuple[float, ...]
    rate: float

    def quantile(self, percent: int) -> float:
        """Milliseconds."""
        return statistics.quantiles(self.milliseconds, n=100, method="inclusive")[percent - 1]


def figures() -> list[Figure]:
    """Rate and latency through the pooler, against those past it."""
    with database_servers() as servers, database_world(*servers) as world:
        direct = world.bouncer.addresses[world.serves()]
        with connect(world.client, "bench", session={}) as connection:
            prepare(connection, ACCOUNTS)
        ways = {"pooled": world.client, "direct": direct}
        rates = take_turns(ROUNDS, {name: partial(_transfers, at, CLIENTS) for name, at in ways.items()})
        alone = take_turns(ROUNDS, {name: partial(_transfers, at, 1) for name, at in ways.items()})
        version = ".".join(map(str, world.bouncer.version))
    rate = ratios(*([one.rate for one in rates[name]] for name in ways))
    medians = {name: statistics.median(one.rate for one in taken) for name, taken in rates.items()}
    return [
        Figure(
            figure="pooler_rate", value=rate.median, unit="x", at_most=False,
            how=f"{medians['pooled']:.0f} transactions/s of {CLIENTS} clients through PgBouncer {version}, "
            f"{medians['direct']:.0f} past it; {rate.text}",
        ),
        *(_latency(percent, alone["pooled"], alone["direct"]) for percent in (50, 99)),
    ]  # fmt: skip


def _latency(percent: int, pooled: list[Taken], direct: list[Taken]) -> Figure:
    """One quantile through the pooler against the same past it."""
    through, past = ([one.quantile(percent) for one in taken] for taken in (pooled, direct))
    ratio = ratios(through, past)
    return Figure(
        figure=f"pooler_latency_p{percent}", value=ratio.median, unit="x", at_most=True,
        how=f"a transaction of {_STATEMENTS} statements, one client: {statistics.median(through):.2f} ms through "
        f"PgBouncer, {statistics.median(past):.2f} past it; {ratio.text}",
    )  # fmt: skip


def _transfers(at: Address, clients: int) -> Taken:
    """So many clients, each transferring as fast as it can."""
    taken: list[list[float]] = [[] for _ in range(clients)]
    failed: list[str] = []
    started = threading.Barrier(clients + 1)
    threads = [threading.Thread(target=_client, args=(at, mine, failed, started)) for mine in taken]
    for thread in threads:
        thread.start()
    started.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failed:
        raise RuntimeError(f"transfers at {at} failed: {failed[0]}")
    milliseconds = tuple(each for mine in taken for each in mine)
    return Taken(milliseconds, len(milliseconds) / seconds)


def _client(at: Address, taken: list[float], failed: list[str], started: threading.Barrier) -> None:
    chance = random.Random()
    with connect(at, "bench", session={}) as connection:
        started.wait()
        deadline = time.perf_counter() + SECONDS
        while (began := time.perf_counter()) < deadline and not failed:
            source, target = chance.sample(range(ACCOUNTS), 2)
            refused = transfer(connection, at, "bench", Money(str(uuid.uuid4()), source, target, 1))
            if refused is not None:
                failed.append(refused.why)
            taken.append((time.perf_counter() - began) * 1000)
