"""Which of a batch's messages Kafka is asked to report on, and what that says of the others.

A delivery report costs more than sending: an object and a call each. A batch goes out as one record batch a
partition, so the first and the last message of each partition speak for those between: where both are stored, as far
apart as they were sent, all between them are. What the reports do not settle is unknown, never taken for stored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from adapters.event_bus.errors import EventBusError
from adapters.event_bus.parcels import Outcome, Positions


@dataclass(frozen=True, slots=True)
class Report:
    """What Kafka said of one message: its partition, and its offset there or an error."""

    partition: int
    offset: int
    error: EventBusError | None = None


def asked_for(assumed: Sequence[int | None]) -> set[int]:
    """The messages to ask for, by their place: those whose partition is not known, and the first and the last of
    each partition."""
    first: dict[int | None, int] = {}
    for n in range(len(assumed) - 1, -1, -1):
        first[assumed[n]] = n
    last = {partition: n for n, partition in enumerate(assumed)}
    unknown = {n for n, partition in enumerate(assumed) if partition is None} if None in last else set()
    return {*first.values(), *last.values(), *unknown}


def settled(
    assumed: Sequence[int | None], reports: Mapping[int, Report], unsent: Mapping[int, EventBusError],
    unknown: EventBusError, decisive: type[EventBusError],
) -> Sequence[Outcome]:  # fmt: skip
    """Where each message lies, as `partition:offset`, or why that is not known. `unsent` never left. An error of the
    kind `decisive` counts for all of its partition that the reports do not settle: who sees it asks the log."""
    whole = None if unsent else _whole(assumed, reports)
    if whole is not None:
        return whole
    answers: list[Outcome] = [unknown] * len(assumed)
    members: dict[int, list[int]] = defaultdict(list)
    for n, partition in enumerate(assumed):
        if n in unsent:
            answers[n] = unsent[n]
        elif partition is not None:
            members[partition].append(n)
        elif n in reports:
            members[reports[n].partition].append(n)
    for partition, places in members.items():
        _settle(partition, places, reports, answers, decisive)
    return answers


def _whole(assumed: Sequence[int | None], reports: Mapping[int, Report]) -> Positions | None:
    """The answers where each went where it was assumed to go and all are stored; None where that is not so. It says
    no more than _settle does, at a fraction of the cost."""
    counts = Counter(assumed)
    bases: dict[int, int] = {}
    ends: dict[int | None, int] = {}
    for n in sorted(reports):
        report = reports[n]
        if report.error is not None or report.partition != assumed[n]:
            return None
        bases.setdefault(report.partition, report.offset)
        ends[report.partition] = report.offset
    if any(p is None or p not in ends or ends[p] - bases[p] != count - 1 for p, count in counts.items()):
        return None
    return Positions(cast(Sequence[int], assumed), bases)


def _settle(
    partition: int, places: Sequence[int], reports: Mapping[int, Report], answers: list[Outcome],
    decisive: type[EventBusError],
) -> None:  # fmt: skip
    """The answers of one partition, whose messages stand at `places`, in the order in which they were sent."""
    told = [(at, reports[n]) for at, n in enumerate(places) if n in reports]
    if told and _all_stored(partition, told, len(places)):
        base, prefix = told[0][1].offset, f"{partition}:"
        for at, n in enumerate(places):
            answers[n] = prefix + str(base + at)
        return
    errors = [report.error for _, report in told if report.error is not None]
    common = next((error for error in errors if isinstance(error, decisive)), None)
    if common is None and errors and len(errors) == len(told):
        common = errors[0]
    for n in places:
        report = reports.get(n)
        if report is not None:
            answers[n] = report.error or f"{report.partition}:{report.offset}"
        elif common is not None:
            answers[n] = common


def _all_stored(partition: int, told: Sequence[tuple[int, Report]], count: int) -> bool:
    """Whether the reports, the first and the last message's among them, lie as far apart as they were sent."""
    base = told[0][1].offset
    whole = told[0][0] == 0 and told[-1][0] == count - 1
    return whole and all(
        report.error is None and report.partition == partition and report.offset == base + at for at, report in told
    )
