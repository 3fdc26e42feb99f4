"""What the way through the orchestrator costs: latency, time to the first chunk, calls a second and CPU a call.

By turns with calls that go straight to the upstream and, where it is asked for, with LiteLLM's proxy beside it.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.frame import Figure, Spread, ratios, spread, take_turns
from benchmarks.llm_calls import Timed, at_once, one_after_the_other
from benchmarks.llm_servers import Way

ROUNDS = 5
CALLS = 200
"""Of a round, one after the other, by one client: what is added, not what waiting adds."""
CLIENTS, SECONDS = 32, 3.0
OURS, DIRECT, PEER = "orchestrator", "direct", "litellm"
ADDED_LIMIT, ADDED_AIM = 1.0, 0.5
"""Milliseconds, in the median."""
TAIL_LIMIT, TAIL_AIM = 10.0, 3.0
"""Milliseconds, of 99 %."""
PART_LIMIT, PART_AIM = 0.2, 0.1
"""Of what LiteLLM adds or takes."""
CPU_LIMIT, CPU_AIM = 2000.0, 1000.0
"""Microseconds a call."""
RATE_LIMIT, RATE_AIM = 200.0, 800.0
"""Calls a second of one process, where upstream and clients take their part of the machine, too."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Calls a second, and CPU microseconds a call of the process that answers."""

    rate: float
    cpu: float


def figures(ways: Mapping[str, Way]) -> list[Figure]:
    """Of the orchestrator in `ways`, against the direct way and, where it is there, LiteLLM."""
    calls = _turns(ways, lambda way: _timed(way, stream=False))
    streams = _turns(ways, lambda way: _timed(way, stream=True))
    busy = _turns({name: way for name, way in ways.items() if name != DIRECT}, _busy)
    last = {name: [[timed.last for timed in one] for one in taken] for name, taken in calls.items()}
    first = {name: [[timed.first for timed in one] for one in taken] for name, taken in streams.items()}
    return [
        *_added("latency", last, f"one client, {CALLS} calls a round, each answered in one piece"),
        *_added("ttft", first, f"one client, {CALLS} streams a round; until the first chunk"),
        *_under_load(busy),
    ]


def _turns[T](ways: Mapping[str, Way], take: Callable[[Way], T]) -> dict[str, list[T]]:
    return take_turns(ROUNDS, {name: partial(take, way) for name, way in ways.items()})


def _timed(way: Way, *, stream: bool) -> list[Timed]:
    return asyncio.run(one_after_the_other(way.port, way.instant, CALLS, stream=stream))


def _busy(way: Way) -> Busy:
    before = way.cpu()
    count = asyncio.run(at_once(way.port, way.instant, CLIENTS, SECONDS))
    return Busy(count / SECONDS, (way.cpu() - before) / count * 1e6)


def _added(what: str, taken: Mapping[str, Sequence[Sequence[float]]], how: str) -> list[Figure]:
    made = []
    for percent, limit, aim in ((50, ADDED_LIMIT, ADDED_AIM), (99, TAIL_LIMIT, TAIL_AIM)):
        at = {name: [_quantile(one, percent) for one in rounds] for name, rounds in taken.items()}
        ours = _beyond(at, OURS)
        told = f"{how}; beyond the direct way's {statistics.median(at[DIRECT]):.2f} ms"
        made.append(
            Figure(
                figure=f"added_{what}_p{percent}", value=ours.median, unit="ms", limit=limit, aim=aim, at_most=True,
                how=f"{told}; {ours.text}",
            )
        )  # fmt: skip
        if PEER in at:
            peer = _beyond(at, PEER)
            made.append(
                _part(f"added_{what}_p{percent}_against_litellm", ours, peer, f"{told}; LiteLLM {peer.median:.2f} ms")
            )
    return made


def _quantile(seconds: Sequence[float], percent: int) -> float:
    """In ms."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000


def _beyond(at: Mapping[str, Sequence[float]], name: str) -> Spread:
    return spread([through - past for through, past in zip(at[name], at[DIRECT], strict=True)])


def _part(figure: str, ours: Spread, peer: Spread, how: str) -> Figure:
    return Figure(
        figure=figure, value=ours.median / peer.median, unit="x", limit=PART_LIMIT, aim=PART_AIM, at_most=True,
        how=f"{how}, {peer.text}",
    )  # fmt: skip


def _under_load(busy: Mapping[str, Sequence[Busy]]) -> list[Figure]:
    rate, cpu = spread([one.rate for one in busy[OURS]]), spread([one.cpu for one in busy[OURS]])
    how = f"{CLIENTS} clients for {SECONDS:g} s a round, one process"
    made = [
        Figure(
            figure="calls_a_second", value=rate.median, unit="calls/s", limit=RATE_LIMIT, aim=RATE_AIM, at_most=False,
            how=f"{how}; {rate.text}",
        ),
        Figure(
            figure="cpu_a_call", value=cpu.median, unit="us", limit=CPU_LIMIT, aim=CPU_AIM, at_most=True,
            how=f"of the orchestrator's process, all threads; {how}; {cpu.text}",
        ),
    ]  # fmt: skip
    if PEER in busy:
        faster = ratios([one.rate for one in busy[OURS]], [one.rate for one in busy[PEER]])
        theirs = spread([one.rate for one in busy[PEER]])
        made.append(
            Figure(
                figure="calls_a_second_against_litellm", value=faster.median, unit="x", limit=1 / PART_LIMIT,
                aim=1 / PART_AIM, at_most=False, how=f"{how}; LiteLLM {theirs.median:.0f} calls/s; {faster.text}",
            )
        )  # fmt: skip
        peer = spread([one.cpu for one in busy[PEER]])
        made.append(_part("cpu_a_call_against_litellm", cpu, peer, f"{how}; LiteLLM {peer.median:.0f} us"))
    return made
