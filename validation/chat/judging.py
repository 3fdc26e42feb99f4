"""What became of a run's calls. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from validation.chat.account import UNKNOWN, Account, Call, Fate
from validation.ledger import Window
from validation.result import Check, Report

WHOLE = "chats"
_EXAMPLES = 3
_MS = 1e6
_LOST = (Fate.CUT, Fate.UNENDED)
_BROKEN = (Fate.BROKEN, Fate.TORN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What must hold beside that nothing is lost, broken, doubled or refused: calls a second, the first token of 95 %
    of the streams, and the longest gap within one, in ms. None: no matter."""

    min_rate: float
    max_ttft_ms: float | None = None
    max_gap_ms: float | None = None


def judge(account: Account, limits: Limits, switches: int | None = None) -> Report:
    """The run as a whole. `switches`: how many there were in it; None where nobody knows, and nothing can be said of
    who answers a conversation."""
    checks, figures = _checks(account.calls, limits, switches)
    checks.append(
        Check.that(
            "the load ended", account.closed, expected="in order", found="in order" if account.closed else "cut off",
            fix="stop it, and wait for what is under way",
        )
    )  # fmt: skip
    return Report(subject=WHOLE, checks=tuple(checks), figures=figures)


def judge_window(name: str, account: Account, span: Window, limits: Limits) -> Report:
    """The calls that began in `span`, which holds one switch."""
    inside = [call for call in account.calls if span.start <= call.began < span.end]
    checks, figures = _checks(inside, limits, 1)
    return Report(subject=name, checks=tuple(checks), figures=figures)


def _checks(calls: Sequence[Call], limits: Limits, switches: int | None) -> tuple[list[Check], dict[str, float]]:
    streams = [call for call in calls if call.streamed and call.fate is not Fate.REFUSED]
    twice = _twice(calls)
    checks = [
        _none("nothing lost", calls, _of(calls, *_LOST), "calls without a whole answer, and without an error"),
        _none("nothing broken", streams, _of(calls, *_BROKEN), "answers that broke off"),
        _none("nothing doubled", calls, twice, "answers that came more than once"),
        _none("no call refused", calls, _of(calls, Fate.REFUSED), "calls that were answered with an error"),
    ]
    if switches is not None:
        checks.append(_stays(calls, switches))
    figures = _figures(calls) | {"doubled": float(len(twice))}
    rate = figures["rate"]
    checks.append(
        Check.that("load", rate >= limits.min_rate, expected=f"at least {limits.min_rate:g} calls a second",
                   found=f"{rate:.2g} a second")
    )  # fmt: skip
    checks += _within("first token", figures.get("ttft_ms_p95"), limits.max_ttft_ms)
    checks += _within("gap in a stream", figures.get("gap_ms_max"), limits.max_gap_ms)
    return checks, figures


def _of(calls: Iterable[Call], *fates: Fate) -> list[Call]:
    return [call for call in calls if call.fate in fates]


def _twice(calls: Sequence[Call]) -> list[Call]:
    """Answers that hold more than one, and those that more than one call was given."""
    counted = Counter(call.answer for call in calls if call.answer)
    return [call for call in calls if call.fate is Fate.DOUBLED or counted[call.answer] > 1]


def _none(name: str, of: Sequence[Call], wrong: Sequence[Call], what: str) -> Check:
    some = "; ".join(f"{call.id}: {call.fate}, {call.error or 'no more is known'}" for call in wrong[:_EXAMPLES])
    return Check.none_wrong(name, wrong=len(wrong), of=len(of), what=what, detail=some)


def _stays(calls: Sequence[Call], switches: int) -> Check:
    """Whether each conversation changed sides no more often than there were switches."""
    name, expected = "conversations stay", f"who answers a conversation changes at most {switches} times"
    whole = _of(calls, Fate.WHOLE)
    unknown = sum(call.backend == UNKNOWN for call in whole)
    if unknown:
        return Check.unknown(
            name, expected=expected, why=f"of {unknown} of {len(whole)} answers nobody said who gave them"
        )
    wandered = [conversation for conversation, count in changes_of(whole).items() if count > switches]
    again = sum(count > 1 for count in Counter(call.conversation for call in whole).values())
    return Check.none_wrong(
        name, wrong=len(wandered), of=again, what=f"conversations that changed sides more than {switches} times",
        detail=", ".join(wandered[:_EXAMPLES]),
    )  # fmt: skip


def changes_of(calls: Iterable[Call]) -> dict[str, int]:
    """How often each conversation was answered by another side than the time before. A conversation asks its next
    question once it has its answer, so the order in which they began is that in which they were routed."""
    last: dict[str, str] = {}
    changes: dict[str, int] = {}
    for call in sorted(calls, key=lambda call: call.began):
        before = last.get(call.conversation)
        changes[call.conversation] = changes.get(call.conversation, 0) + (before not in (None, call.backend))
        last[call.conversation] = call.backend
    return changes


def _within(name: str, found: float | None, limit: float | None) -> list[Check]:
    if limit is None:
        return []
    expected = f"at most {limit:g} ms"
    if found is None:
        return [Check.unknown(name, expected=expected, why="no stream was whole")]
    return [Check.that(name, found <= limit, expected=expected, found=f"{found:.0f} ms")]


def _figures(calls: Sequence[Call]) -> dict[str, float]:
    """Counts by fate and by who answered, and how long it took."""
    whole = _of(calls, Fate.WHOLE)
    began = [call.began for call in calls]
    seconds = (max(began) - min(began)) / 1e9 if began else 0.0
    broken, torn, refused = (_of(calls, fate) for fate in (Fate.BROKEN, Fate.TORN, Fate.REFUSED))
    figures: dict[str, float] = {
        "acknowledged": len(whole), "lost": len(_of(calls, *_LOST)), "broken": len(broken), "torn": len(torn),
        "refused": len(refused), "caller_errors": len(broken) + len(torn) + len(refused),
        "rate": len(calls) / seconds if seconds else 0.0, "seconds": seconds,
        "streams": sum(call.streamed for call in whole),
        "moved": sum(count > 0 for count in changes_of(whole).values()),
    }  # fmt: skip
    for backend, count in sorted(Counter(call.backend for call in whole).items()):
        figures[f"acknowledged_{backend}"] = count
        figures |= _times([call for call in whole if call.backend == backend], f"_{backend}")
    for backend, count in sorted(Counter(call.backend for call in [*broken, *torn]).items()):
        figures[f"broken_{backend}"] = count
    return figures | _times(whole)


def _times(whole: Iterable[Call], mark: str = "") -> dict[str, float]:
    """First tokens and gaps of the streams among `whole`. A stream is waited for from when the schedule wanted it."""
    streams = [call for call in whole if call.streamed and call.first]
    if not streams:
        return {}
    firsts = sorted((call.first - call.due) / _MS for call in streams)
    return {
        f"ttft_ms_p50{mark}": _quantile(firsts, 0.5),
        f"ttft_ms_p95{mark}": _quantile(firsts, 0.95),
        f"gap_ms_max{mark}": max(call.gap for call in streams) / _MS,
    }


def _quantile(ordered: Sequence[float], part: float) -> float:
    return ordered[math.ceil(len(ordered) * part) - 1]
