"""What a run of probes says of each service, and whether that is within limits. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from validation.ledger import Window
from validation.probes.account import Account, Probe
from validation.result import Check, Report

WHOLE = "probes"
_EXAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is still good. `max_failed`: probes of a service without a good answer; `max_stall_ms`: the longest that one
    may wait, None for any; `min_rate`: probes a second of each service without which nothing is proven."""

    max_failed: int = 0
    max_stall_ms: float | None = None
    min_rate: float = 10.0


@dataclass(frozen=True, slots=True)
class Outage:
    """Probes that failed one behind another: from when the first was due until the next good one was, or else the last
    one ended, in ns since 1970 UTC. `reasons`: each once, as they came."""

    start: int
    end: int
    probes: int
    reasons: tuple[str, ...]

    @property
    def ms(self) -> float:
        """How long it was."""
        return (self.end - self.start) / 1e6

    def words(self) -> str:
        """For people."""
        at = datetime.fromtimestamp(self.start / 1e9, UTC).isoformat(timespec="milliseconds")
        return f"from {at.replace('+00:00', 'Z')} for {self.ms:.0f} ms ({self.probes}): {'; '.join(self.reasons)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was seen of one service. Latencies in ms, from when a probe was due, of good answers and of failures alike;
    `answer_ms_max` from when it was sent; `late_ms_max`: how late the prober itself was."""

    asked: int
    failed: int
    outages: tuple[Outage, ...]
    p50_ms: float
    p99_ms: float
    max_ms: float
    answer_ms_max: float
    late_ms_max: float
    seconds: float

    @property
    def outage_ms_max(self) -> float:
        """The longest outage; 0 where there was none."""
        return max((outage.ms for outage in self.outages), default=0.0)

    def document(self) -> dict[str, object]:
        """For machines."""
        outages = [
            {"start": one.start, "end": one.end, "ms": one.ms, "probes": one.probes, "reasons": list(one.reasons)}
            for one in self.outages
        ]
        return {**self.figures(), "outages": outages}

    def figures(self) -> dict[str, float]:
        """The numbers by name."""
        return {
            "asked": self.asked, "failed": self.failed, "outage_ms_max": self.outage_ms_max, "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms, "max_ms": self.max_ms, "answer_ms_max": self.answer_ms_max,
            "late_ms_max": self.late_ms_max, "seconds": self.seconds,
        }  # fmt: skip


def measured(probes: Sequence[Probe]) -> Mapping[str, Measured]:
    """By service. `probes` stand by when they were due."""
    services = sorted({probe.service for probe in probes})
    return {name: _measured([probe for probe in probes if probe.service == name]) for name in services}


def _measured(probes: Sequence[Probe]) -> Measured:
    latencies = sorted(probe.latency_ms for probe in probes)
    return Measured(
        asked=len(probes),
        failed=sum(bool(probe.error) for probe in probes),
        outages=tuple(_outages(probes)),
        p50_ms=_quantile(latencies, 0.5),
        p99_ms=_quantile(latencies, 0.99),
        max_ms=latencies[-1],
        answer_ms_max=max(probe.answer_ms for probe in probes),
        late_ms_max=max((probe.sent - probe.due) / 1e6 for probe in probes),
        seconds=(probes[-1].due - probes[0].due) / 1e9,
    )


def _outages(probes: Sequence[Probe]) -> Iterator[Outage]:
    runs = [(failed, list(run)) for failed, run in groupby(probes, key=lambda probe: bool(probe.error))]
    for place, (failed, run) in enumerate(runs):
        if failed:
            end = runs[place + 1][1][0].due if place + 1 < len(runs) else max(probe.ended for probe in run)
            yield Outage(run[0].due, end, len(run), tuple(dict.fromkeys(probe.error for probe in run)))


def _quantile(ordered: Sequence[float], part: float) -> float:
    """The smallest value that `part` of all lie at or below (nearest rank)."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def judge(account: Account, services: Sequence[str], limits: Limits) -> Report:
    """The run as a whole. `services`: that must have been asked; all that were where it is empty."""
    report = _judged(WHOLE, account.probes, services, limits)
    if account.closed:
        return report
    cut = Check.unknown("ended in order", expected="a last line", why="the run is not over, or was cut off")
    return report.model_copy(update={"checks": (cut, *report.checks)})


def judge_window(name: str, account: Account, span: Window, services: Sequence[str], limits: Limits) -> Report:
    """The same of the probes that were due in `span`."""
    inside = within(account.probes, span)
    return _judged(name, inside, services or sorted({probe.service for probe in account.probes}), limits)


def within(probes: Sequence[Probe], span: Window) -> Sequence[Probe]:
    """Those that were due in `span`."""
    return [probe for probe in probes if span.start <= probe.due < span.end]


def _judged(subject: str, probes: Sequence[Probe], services: Sequence[str], limits: Limits) -> Report:
    found = measured(probes)
    wanted = list(services) or sorted(found)
    if not wanted:
        nothing = Check.unknown("asked", expected="probes", why="nothing was asked")
        return Report(subject=subject, checks=(nothing,))
    checks = [check for name in wanted for check in _checks(name, found.get(name), limits)]
    figures = {
        f"{name} {key}": value for name in wanted if name in found for key, value in found[name].figures().items()
    }
    return Report(subject=subject, checks=tuple(checks), figures=figures)


def _checks(name: str, found: Measured | None, limits: Limits) -> Iterator[Check]:
    if found is None:
        yield Check.unknown(f"{name} answers", expected="probes", why=f"{name} was never asked")
        return
    rate = (found.asked - 1) / found.seconds if found.seconds else 0.0
    if rate < limits.min_rate:
        why = f"{found.asked} probes in {found.seconds:.1f} s: between them anything may have happened"
        yield Check.unknown(f"{name} was asked", expected=f"{limits.min_rate:g} a second or more", why=why)
    yield Check.that(
        f"{name} answers", found.failed <= limits.max_failed,
        expected=f"at most {limits.max_failed} failed", found=f"{found.failed} of {found.asked}",
        detail="; ".join(outage.words() for outage in found.outages[:_EXAMPLES]),
        fix=f"read the log of {name} at these times",
    )  # fmt: skip
    if limits.max_stall_ms is not None:
        yield _stall(name, found, limits.max_stall_ms)


def _stall(name: str, found: Measured, most: float) -> Check:
    expected = f"at most {most:.0f} ms"
    if found.max_ms > most >= found.answer_ms_max:
        why = f"the prober itself was up to {found.late_ms_max:.0f} ms late: it had no room to run"
        return Check.unknown(f"{name} stalls", expected=expected, why=why, fix="give the prober a CPU, and probe again")
    return Check.that(f"{name} stalls", found.max_ms <= most, expected=expected, found=f"{found.max_ms:.0f} ms")
