"""Whether the memory of the process that copies and compares grows with the table: at 1 and at 10 million rows.

Ten million are 2.4 GB at the source and as many at the target, and take some minutes: so this runs only where it is
named, and not in parallel to anything else.
"""

from __future__ import annotations

from adapters.postgres.catalog import tables
from adapters.postgres.driver import Address, connect
from benchmarks import copying
from benchmarks.copying import SERVERS, World
from benchmarks.frame import Figure
from benchmarks.resident import MIB, Peak, peak
from tests.contract.two_postgres import two_servers
from validation.database.rows import compare
from validation.result import Verdict

SIZES = (1_000_000, 10_000_000)
GROWTH_LIMIT, GROWTH_AIM = 16, 4
"""MiB between the two sizes, whose tables differ by 2.2 GB."""


def figures() -> list[Figure]:
    """The peaks at both sizes, and what the larger one adds."""
    peaks = [_peaks(rows) for rows in SIZES]
    made = []
    for place, what in enumerate(("copy", "compare")):
        small, large = (each[place] for each in peaks)
        how = (
            f"resident memory of this process at its peak: {small.most / MIB:.1f} MiB at {SIZES[0]} rows, "
            f"{large.most / MIB:.1f} at {SIZES[1]}; before it {small.before / MIB:.1f} and {large.before / MIB:.1f}"
        )
        most, grown = max(small.rise, large.rise) / MIB, (large.most - small.most) / MIB
        for name, value, limit, aim in (
            ("most", most, copying.MEMORY_LIMIT, copying.MEMORY_AIM), ("growth", grown, GROWTH_LIMIT, GROWTH_AIM),
        ):  # fmt: skip
            made.append(
                Figure(
                    figure=f"{what}_memory_{name}", value=value, unit="MiB", limit=limit, aim=aim, at_most=True, how=how
                )
            )
    return made


def _peaks(rows: int) -> tuple[Peak, Peak]:
    """Of the copy, and of the comparison of what was copied."""
    with two_servers(SERVERS) as (hosted, own):
        world = World(hosted, own, rows)
        compared: list[Peak] = []
        moved = world.moved(world.ours, lambda target: compared.append(_compared(world.pair.hosted, target)))
    return moved.memory, compared[0]


def _compared(source: Address, target: Address) -> Peak:
    """While all rows are compared; they must be the same."""
    with connect(source, "bench") as here, connect(target, "bench") as there:
        sides = [tables(side, [copying.SCHEMA]) for side in (here, there)]
    found, memory = peak(lambda: compare(source, target, *sides))
    if found.verdict is not Verdict.HOLDS:
        raise RuntimeError(f"the copy differs: {found.report().failures()}")
    return memory
