"""Is what was measured now as good as the baseline? Pure: margins are stated, and little data proves nothing.

A latency is judged by the share of what took longer than the baseline's quantile and a margin. Both are interpolated
within a bucket in the same way, so that the same latencies again give the same share. That share, and each share of
failures, has the interval of Wilson: as good where all of it is allowed, worse where none of it is, and between the two
there is not enough data.
"""

from __future__ import annotations

from collections.abc import Iterator

from validation.llm_service.paired import wilson
from validation.performance.measured import LEVELS, Heights, Level, Measured, Part, Spread
from validation.result import Check, Verdict

QUANTILES = {0.5: 100, 0.95: 400, 0.99: 2000}
"""How many the baseline must have for each: of fewer, what it was is not known well enough to compare with."""
SLOWER, SLOWER_SECONDS = 0.25, 0.005
"""What a latency may grow by: that part of it, and so many seconds."""
FAILURES, FAILURES_MORE = 1.5, 0.005
"""What a share of failures may come to: so many times the baseline's, or so much more, the larger."""
FEWEST = 400
"""Of which the baseline's share of failures must be."""
LEVEL_TIMES = 2.0
"""What the median of a level may come to: so many times the baseline's, or its floor more, the larger."""
FEWEST_READS = 3
CONFIDENCE = 0.95
_LONGER = "watch longer (--minutes), or under more load"
_WORSE = "crossover status and crossover doctor say what is wrong; crossover rollback COMPONENT is the way back"


def compare(baseline: Measured, now: Measured) -> tuple[Check, ...]:
    """Every answer. What the baseline has too little of is not asked."""
    return (*_latencies(baseline, now), *_shares(baseline, now), *_levels(baseline, now))


def _latencies(baseline: Measured, now: Measured) -> Iterator[Check]:
    for name, before in baseline.latencies.items():
        for quantile, fewest in QUANTILES.items():
            if before.count >= fewest:
                yield _latency(f"{name}: p{quantile * 100:g}", quantile, before, now.latencies.get(name), now)


def _latency(name: str, quantile: float, before: Spread, now: Spread | None, measured: Measured) -> Check:
    was = before.quantile(quantile)
    limit = was * (1 + SLOWER) + SLOWER_SECONDS
    expected = f"at most {_ms(limit)} (baseline {_ms(was)})"
    slower = now.slower(limit) if now is not None else None
    if now is None or slower is None:
        why = _none(measured) if now is None else "it is beyond the last bucket of the histogram"
        return Check.unknown(name, expected=expected, why=why, fix=_LONGER)
    found = f"{_ms(now.quantile(quantile))}; {slower / now.count:.2%} of {now.count:.0f} took longer than {_ms(limit)}"
    by = now.quantile(quantile) / was - 1 if was else 0.0
    return _judged(name, slower, now.count, 1 - quantile, expected, found, f"slower by {by:.0%}")


def _shares(baseline: Measured, now: Measured) -> Iterator[Check]:
    for name, before in baseline.shares.items():
        if before.of < FEWEST:
            continue
        was = before.bad / before.of
        allowed = max(was * FAILURES, was + FAILURES_MORE)
        expected = f"at most {allowed:.2%} (baseline {was:.2%})"
        part: Part | None = now.shares.get(name)
        if part is None:
            yield Check.unknown(name, expected=expected, why=_none(now), fix=_LONGER)
            continue
        share = part.bad / part.of
        found = f"{share:.2%}: {part.bad:.0f} of {part.of:.0f}"
        yield _judged(name, part.bad, part.of, allowed, expected, found, f"{share - was:+.2%}")


def _judged(name: str, bad: float, of: float, allowed: float, expected: str, found: str, by: str) -> Check:
    limits = wilson(round(bad), round(of), CONFIDENCE)
    if limits.low > allowed:
        return Check(
            name=name, outcome=Verdict.DOES_NOT_HOLD, expected=expected, found=found, detail=f"worse, {by}", fix=_WORSE
        )
    if limits.high <= allowed:
        return Check.that(name, True, expected=expected, found=found)
    why = f"not enough data, of {of:.0f}: the share may be {limits.low:.2%} to {limits.high:.2%}, {allowed:.2%} may be"
    return Check(
        name=name, outcome=Verdict.COULD_NOT_CHECK, expected=expected, found=found, detail=why, fix=_LONGER
    )  # fmt: skip


def _levels(baseline: Measured, now: Measured) -> Iterator[Check]:
    for level in LEVELS:
        before, found = baseline.levels.get(level.name), now.levels.get(level.name)
        if before is not None or found is not None:
            yield _level(level, before, found, now)


def _level(level: Level, before: Heights | None, now: Heights | None, measured: Measured) -> Check:
    """One that the baseline does not have is new at this stage, and has only its floor."""
    was = before.median if before is not None else 0.0
    limit = max(was * LEVEL_TIMES, was + level.floor)
    told = f"baseline {was:g}" if before is not None else "not in the baseline"
    expected = f"a median of at most {limit:g} {level.unit} ({told})"
    if now is None or now.reads < FEWEST_READS:
        why = _none(measured) if now is None else f"not enough data: it was read {now.reads} times"
        return Check.unknown(level.name, expected=expected, why=why, fix=_LONGER)
    found = f"{now.median:g} {level.unit} in {now.reads} reads, {now.most:g} at most"
    worse = now.median > limit
    detail = f"worse, by {now.median - was:g} {level.unit}" if worse else ""
    return Check.that(level.name, not worse, expected=expected, found=found, detail=detail, fix=_WORSE if worse else "")


def _none(measured: Measured) -> str:
    lacking = "; ".join(f"{where}: {why}" for where, why in list(measured.lacking.items())[:3])
    return f"nothing of it was measured ({lacking})" if lacking else "nothing of it was measured"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
