"""A thousand streams through one orchestrator, begun one by one and in a burst: each comes whole, and its memory stays
bounded."""

from __future__ import annotations

import asyncio
import statistics

from benchmarks.frame import Figure
from benchmarks.llm_calls import Held, hold_streams
from benchmarks.llm_servers import Way
from benchmarks.llm_upstream import CHUNKS, PACE_SECONDS

STREAMS = 1000
RATE = 100.0
"""Streams that begin a second: all of them are under way before the first one ends."""
ROUNDS = 3
"""The first one fills caches and arenas; what the later ones add would go on growing."""
PEAK_LIMIT, PEAK_AIM = 128.0, 64.0
GROWTH_LIMIT, GROWTH_AIM = 16.0, 4.0
CPU_LIMIT, CPU_AIM = 6.0, 3.0
"""Milliseconds a stream: a pool that is searched for every call makes it grow with the number of streams."""
LATE_LIMIT, LATE_AIM = 5000.0, 1000.0
BURST_RATE = 1e6
"""All at once."""
_MIB = float(1 << 20)


def figures(way: Way) -> list[Figure]:
    """Of `way`, over ROUNDS times STREAMS streams."""
    before, peaks, rounds, used = way.resident(), list[int](), list[Held](), way.cpu()
    for _ in range(ROUNDS):
        way.begin_peak()
        rounds.append(asyncio.run(hold_streams(way.port, way.paced, STREAMS, RATE)))
        peaks.append(way.peak())
    used = (way.cpu() - used) / STREAMS / ROUNDS * 1000
    whole = [timed for held in rounds for timed in held.whole]
    lost = [why for held in rounds for why in held.lost]
    if len(whole) < STREAMS:
        raise RuntimeError(f"only {len(whole)} of {STREAMS * ROUNDS} streams came whole: {lost[0]!r}")
    delays = [timed.last - CHUNKS * PACE_SECONDS for timed in whole]
    late = statistics.quantiles(delays, n=100, method="inclusive")[98] * 1000
    rise, growth = (max(peaks) - before) / _MIB, (peaks[-1] - peaks[0]) / _MIB
    burst = asyncio.run(hold_streams(way.port, way.paced, STREAMS, BURST_RATE))
    how = f"{STREAMS} streams of {CHUNKS} chunks, one every {PACE_SECONDS:g} s, {RATE:g} begun a second, {ROUNDS} times"
    return [
        Figure(
            figure="streams_lost", value=len(lost), unit="streams", limit=0, aim=0, at_most=True,
            how=f"{how}{f'; {lost[0]!r}' if lost else ''}",
        ),
        Figure(
            figure="streams_lost_in_a_burst", value=len(burst.lost), unit="streams", limit=0, aim=0, at_most=True,
            how=f"{STREAMS} streams, all begun at once{f'; {burst.lost[0]!r}' if burst.lost else ''}",
        ),
        Figure(
            figure="streams_at_once", value=min(held.most for held in rounds), unit="streams", limit=STREAMS,
            aim=STREAMS, at_most=False, how=how,
        ),
        Figure(
            figure="memory_of_1000_streams", value=rise, unit="MiB", limit=PEAK_LIMIT, aim=PEAK_AIM, at_most=True,
            how=f"{how}; peak of the resident memory beyond {before / _MIB:.0f} MiB, {rise * 1024 / STREAMS:.0f} KiB a "
            "stream",
        ),
        Figure(
            figure="memory_growth", value=growth, unit="MiB", limit=GROWTH_LIMIT, aim=GROWTH_AIM, at_most=True,
            how=f"{how}; the last peak beyond the first; peaks {', '.join(f'{peak / _MIB:.0f}' for peak in peaks)} MiB",
        ),
        Figure(
            figure="cpu_a_stream", value=used, unit="ms", limit=CPU_LIMIT, aim=CPU_AIM, at_most=True,
            how=f"of the orchestrator's process, all threads; {how}",
        ),
        Figure(
            figure="stream_delay_p99", value=late, unit="ms", limit=LATE_LIMIT, aim=LATE_AIM, at_most=True,
            how=f"{how}; beyond the {CHUNKS * PACE_SECONDS:g} s that the upstream takes",
        ),
    ]  # fmt: skip
