"""What became of a load's runs. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from validation.backtest_load.account import Account, Asked, Fate
from validation.ledger import Window
from validation.result import Check, Report

WHOLE = "backtests"
_EXAMPLES = 3


def judge(account: Account, min_rate: float) -> Report:
    """The load as a whole; `min_rate` runs a second must have been asked for."""
    checks, figures = _checks(account.runs, min_rate)
    compared = [one for one in account.runs if one.compared]
    checks += [
        Check.none_wrong(
            "both engines agree", wrong=sum(bool(one.differs) for one in compared), of=len(compared),
            what="runs that differ", detail=_some(one for one in compared if one.differs),
        ),
        Check.that(
            "the load ended", account.closed, expected="in order", found="in order" if account.closed else "cut off",
            fix="stop it, and wait for what is under way",
        ),
    ]  # fmt: skip
    return Report(subject=WHOLE, checks=tuple(checks), figures=figures)


def judge_window(name: str, account: Account, span: Window, min_rate: float) -> Report:
    """The runs that were asked for in `span`."""
    inside = [one for one in account.runs if span.start <= one.began < span.end]
    checks, figures = _checks(inside, min_rate)
    return Report(subject=name, checks=tuple(checks), figures=figures)


def _checks(runs: Sequence[Asked], min_rate: float) -> tuple[list[Check], dict[str, float]]:
    accepted = [one for one in runs if one.fate is not Fate.REFUSED]
    done = [one for one in runs if one.fate is Fate.DONE]
    wrong = {
        "lost": [one for one in accepted if one.fate is not Fate.DONE],
        "doubled": [one for one in accepted if one.doubled],
        "changed": [one for one in done if one.untrue or one.differs],
        "moved": [one for one in done if one.ended_by != one.engine],
        "refused": [one for one in runs if one.fate is Fate.REFUSED],
    }
    told = {
        "lost": "runs that were taken and came to nothing",
        "doubled": "runs that were made twice of one request",
        "changed": "results that do not go together, or that the other engine has otherwise",
        "moved": "runs that ended by another engine than took them",
        "refused": "callers that saw an error",
    }
    checks = [
        Check.none_wrong(
            f"nothing {how}", wrong=len(wrong[how]), of=len(runs if how == "refused" else accepted), what=what,
            detail=_some(wrong[how]),
        )
        for how, what in told.items()
    ]  # fmt: skip
    figures = _figures(runs, done) | {name: float(len(wrong[name])) for name in ("lost", "doubled", "changed", "moved")}
    figures["caller_errors"] = float(len(wrong["refused"]))
    rate = figures["rate"]
    checks.append(
        Check.that("load", rate >= min_rate, expected=f"at least {min_rate:g} runs a second", found=f"{rate:.2g}")
    )
    return checks, figures


def _figures(runs: Sequence[Asked], done: Sequence[Asked]) -> dict[str, float]:
    """Counts by who took a run, how long callers waited for its number, and how long it took."""
    due = [one.due for one in runs]
    seconds = (max(due) - min(due)) / 1e9 if due else 0.0
    figures: dict[str, float] = {
        "acknowledged": len(done), "rate": len(runs) / seconds if seconds else 0.0, "seconds": seconds,
        "compared": sum(one.compared for one in runs), "differing": sum(bool(one.differs) for one in runs),
    }  # fmt: skip
    for engine, count in sorted(Counter(one.engine for one in done).items()):
        figures[f"acknowledged_{engine}"] = count
    late = sorted((one.answered - one.due) / 1e6 for one in runs if one.answered)
    took = sorted(one.seconds * 1e3 for one in done)
    if late:
        figures["answer_ms_max"] = late[-1]
    if took:
        figures |= {"run_ms_p50": _part(took, 0.5), "run_ms_p95": _part(took, 0.95)}
    return figures


def _part(ordered: Sequence[float], part: float) -> float:
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)]


def _some(wrong: Iterable[Asked]) -> str:
    some = list(wrong)[:_EXAMPLES]
    return "; ".join(
        f"{one.id or one.number}: {one.error or one.untrue or one.differs or one.doubled or one.ended_by}"
        for one in some
    )
