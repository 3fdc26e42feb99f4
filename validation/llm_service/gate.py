"""The gate of the language models' switch: asks both sides, then judges."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from validation.llm_service.asking import Side, ask_both
from validation.llm_service.deciding import ACCURACY, decide
from validation.llm_service.paired import Comparison
from validation.llm_service.prompts import Prompt
from validation.llm_service.settings import Settings
from validation.result import Report, Verdict

__all__ = ["Settings", "Side", "conclusion", "judge"]


def judge(
    old: Side, new: Side, prompts: Sequence[Prompt], settings: Settings | None = None, *, subject: str = "llm_service"
) -> Report:
    """Both sides' answers to `prompts`, judged. Runs an event loop of its own, so not from within one; takes as long as
    the slower side. What a side cannot answer is part of the report, not an exception."""
    chosen = settings or Settings()
    answers = asyncio.run(ask_both(old, new, prompts, chosen.manner))
    return decide((old, new), prompts, answers, chosen, subject)


def conclusion(report: Report) -> Comparison:
    """The whole report in one of four words. Better or not worse only where every check holds."""
    match report.overall():
        case Verdict.DOES_NOT_HOLD:
            return Comparison.WORSE
        case Verdict.COULD_NOT_CHECK:
            return Comparison.NOT_ENOUGH_DATA
    return Comparison.BETTER if report.figures[f"{ACCURACY}_low"] > 0 else Comparison.NOT_WORSE
