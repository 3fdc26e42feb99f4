"""The end-to-end proof of the event bus: reads the ledgers of a run and judges them.

What could not be read is COULD_NOT_CHECK, and so is a window in which the promised load was
not offered: a quiet bus loses nothing, and that proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from validation.ledger import (
    GroupFindings,
    Ledger,
    Matched,
    PublishFindings,
    SentIndex,
    Window,
    examine_group,
    examine_publishing,
    match,
)
from validation.ledger_file import LedgerFile, UnreadableLedger, consume_path, publish_path, read_ledger
from validation.result import Check, Report, Verdict

_COUNTERS = ("lost", "doubled", "reordered", "changed", "foreign", "others_doubled")
_FIXES = {
    "lost": "keep both backends, and look the ids up with `python -m validation.load show`",
    "doubled": "see which segment delivered the ids a second time: the group's position did not move with it",
    "reordered": "see whether two publishers share a key, or held events were sent out of turn",
    "changed": "compare the stored entries of both backends: the payload must never be decoded on the way",
    "foreign": "see what else publishes with this run's mark, or what was stored although it was refused",
    "others_doubled": "the same as doubled, for events of another publisher",
}
_PUBLISHER_LEDGER = "the publisher's ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is expected of a run. `min_rate` in events a second; `min_covered` is the part of a
    window, from 0 to 1, in which load must have been offered; `max_stall_ms` None: not judged."""

    min_rate: float = 0.0
    min_covered: float = 0.95
    max_stall_ms: float | None = None


def read_run(folder: Path, groups: Sequence[str]) -> Ledger:
    """The ledgers of a run. What cannot be read stands in its place as the reason."""
    return Ledger(
        published=_read(publish_path(folder), "publish"),
        groups={group: _read(consume_path(folder, group), "consume") for group in groups},
    )


def _read(path: Path, role: str) -> LedgerFile | UnreadableLedger:
    try:
        return read_ledger(path, role)
    except UnreadableLedger as error:
        return error


class Proof:
    """Judges one run, whole or by windows. The matching is done once."""

    def __init__(self, ledger: Ledger, rules: Rules) -> None:
        self._ledger = ledger
        self._rules = rules
        self._index: SentIndex | UnreadableLedger = _index(ledger.published)
        self._matched: dict[str, Matched | UnreadableLedger] = {
            group: self._match(group, file) for group, file in ledger.groups.items()
        }

    def judge(self, subject: str, window: Window | None = None) -> Report:
        """The report on the events that were due in `window` (None: on all)."""
        if isinstance(self._index, UnreadableLedger):
            why = str(self._index)
            return Report(subject=subject, checks=(Check.unknown(_PUBLISHER_LEDGER, expected="readable", why=why),))
        published = examine_publishing(self._index, window)
        checks = [self._load(published, window), self._callers(published)]
        found: list[GroupFindings] = []
        for group, matched in self._matched.items():
            if isinstance(matched, UnreadableLedger):
                checks.append(Check.unknown(f"{group}: ledger", expected="readable", why=str(matched)))
                continue
            findings = examine_group(self._index, matched, window)
            found.append(findings)
            checks += [*self._ended(group), *self._group(findings, published)]
        if not self._matched:
            checks.append(Check.unknown("consumer groups", expected="at least one", why="no group was named"))
        checks += self._stalls(published, found)
        figures = _figures(published, found, complete=len(found) == len(self._matched))
        return Report(subject=subject, checks=tuple(checks), figures=figures)

    def _match(self, group: str, file: LedgerFile | UnreadableLedger) -> Matched | UnreadableLedger:
        if isinstance(file, UnreadableLedger):
            return file
        if isinstance(self._index, UnreadableLedger) or isinstance(self._ledger.published, UnreadableLedger):
            return UnreadableLedger("there is no publisher's ledger to compare with")
        run, own = self._ledger.published.header.get("run"), file.header.get("run")
        if own != run or file.header.get("group") != group:
            return UnreadableLedger(
                f"{file.path.name} is of run {own!r}, group {file.header.get('group')!r}; "
                f"the publisher's is of run {run!r}"
            )
        return match(self._index, group, file.records)

    def _load(self, published: PublishFindings, window: Window | None) -> Check:
        """Whether the load was there under which the window is to be shown."""
        rate = published.offered / published.seconds if published.seconds else 0.0
        span = (window.end - window.start) / 1e9 if window else published.seconds
        expected = f"at least {self._rules.min_rate:g} events/s"
        found = f"{rate:.0f} events/s for {published.seconds:.1f} of {span:.1f} s"
        enough = published.offered > 0 and rate >= self._rules.min_rate * 0.999
        if enough and published.seconds >= span * self._rules.min_covered:
            return Check.that("load offered", True, expected=expected, found=found)
        fix = "run the load generator at that rate throughout, on a machine that can carry it"
        return Check.unknown("load offered", expected=expected, why=f"only {found}", fix=fix)

    def _callers(self, published: PublishFindings) -> Check:
        closing = {} if isinstance(self._ledger.published, UnreadableLedger) else self._ledger.published.closing
        seen = ", ".join(f"{name} x {count}" for name, count in sorted(closing.get("errors", {}).items()))
        return Check.none_wrong(
            "errors seen by callers",
            wrong=published.unknown + published.refused,
            of=published.offered,
            what="errors",
            fix="see the publisher's log for the first of each kind",
            detail=f"in the whole run: {seen}" if seen else "",
        )

    def _ended(self, group: str) -> list[Check]:
        file = self._ledger.groups[group]
        closing = {} if isinstance(file, UnreadableLedger) else file.closing
        ended, failure = str(closing.get("ended", "")), str(closing.get("failure") or "")
        name, expected = f"{group}: consumer", "ran until all was seen"
        if ended == "drained" and not failure:
            return [Check.that(name, True, expected=expected, found=ended)]
        if failure:
            fix = "see the consumer's log"
            return [Check.that(name, False, expected=expected, found=f"failed: {failure}", fix=fix)]
        if ended == "stopped":
            return [Check.unknown(name, expected=expected, why="it was stopped before it had seen all")]
        return [Check.that(name, False, expected=expected, found=f"gave up waiting ({ended})")]

    def _group(self, found: GroupFindings, published: PublishFindings) -> list[Check]:
        checks = []
        for counter in _COUNTERS:
            wrong = int(getattr(found, counter))
            of = published.acknowledged if counter == "lost" else found.delivered + found.foreign
            if counter == "others_doubled":
                if not found.others:
                    continue  # nobody else publishes: nothing to say about
                of = found.others
            what = counter.replace("_", " ")
            name = f"{found.group}: {what}"
            if counter == "lost" and wrong and self._stopped(found.group):
                why = f"{wrong} of {of} had not come when the consumer was stopped"
                checks.append(Check.unknown(name, expected="0 lost", why=why))
                continue
            examples = ", ".join(found.examples.get(counter, ()))
            detail = f"ids {examples}" if examples else ""
            checks.append(Check.none_wrong(name, wrong=wrong, of=of, what=what, fix=_FIXES[counter], detail=detail))
        return checks

    def _stopped(self, group: str) -> bool:
        """Whether the consumer of `group` was ended from outside, so that absence proves nothing."""
        file = self._ledger.groups[group]
        return isinstance(file, LedgerFile) and file.closing.get("ended") == "stopped"

    def _stalls(self, published: PublishFindings, groups: Sequence[GroupFindings]) -> list[Check]:
        limit = self._rules.max_stall_ms
        if limit is None:
            return []
        stalls = {"publish stall": published.stall_ms} | {f"{g.group}: consume stall": g.stall_ms for g in groups}
        return [
            Check.that(name, value <= limit, expected=f"at most {limit:.0f} ms", found=f"{value:.0f} ms")
            for name, value in stalls.items()
        ]


def _index(published: LedgerFile | UnreadableLedger) -> SentIndex | UnreadableLedger:
    if isinstance(published, UnreadableLedger):
        return published
    if not len(published.records):
        return UnreadableLedger(f"{published.path.name} holds no events")
    try:
        return SentIndex(published.records)
    except UnreadableLedger as error:
        return error


def _figures(published: PublishFindings, groups: Sequence[GroupFindings], *, complete: bool) -> Mapping[str, float]:
    """Numbers for machines. Sums over groups stand only where every group could be read."""
    figures: dict[str, float] = {
        "offered": published.offered,
        "acknowledged": published.acknowledged,
        "caller_errors": published.unknown + published.refused,
        "seconds": round(published.seconds, 3),
        "rate": round(published.rate, 1),
        "publish_gap_ms_max": round(published.gap_ms, 1),
        "publish_latency_ms_p50": round(published.latency_ms_p50, 2),
        "publish_latency_ms_p99": round(published.latency_ms_p99, 2),
        "publish_stall_ms_max": round(published.stall_ms, 1),
    }
    figures |= {f"acknowledged_{name}": count for name, count in published.backends.items()}
    if groups and complete:
        figures |= {name: sum(int(getattr(group, name)) for group in groups) for name in (*_COUNTERS, "others")}
        figures["delivered"] = sum(group.delivered for group in groups)
        figures["consume_gap_ms_max"] = round(max(group.gap_ms for group in groups), 1)
        figures["consume_lag_ms_max"] = round(max(group.lag_ms_max for group in groups), 1)
        figures["consume_stall_ms_max"] = round(max(group.stall_ms for group in groups), 1)
    return figures


def passed(reports: Mapping[str, Report]) -> bool:
    """Whether there are reports, and every one holds."""
    return bool(reports) and all(report.overall() is Verdict.HOLDS for report in reports.values())
