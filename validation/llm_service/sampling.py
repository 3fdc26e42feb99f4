"""A few questions to both sides while the new one serves. They can show that it is worse, and never that it is not: for
that there is the gate, before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from validation.llm_service.asking import Side, ask_both
from validation.llm_service.deciding import Pair, agreeing, paired, rights
from validation.llm_service.prompts import Prompt
from validation.llm_service.settings import Settings
from validation.result import Check

NAME = "quality sample"
CONFIDENCE = 0.99
"""Of each limit. More than the gate's: what is seen here moves traffic, and was judged by many more prompts before."""


def sample(old: Side, new: Side, prompts: Sequence[Prompt], settings: Settings) -> Check:
    """Both sides' answers to `prompts`, looked at. Runs an event loop of its own."""
    answers = asyncio.run(ask_both(old, new, prompts, settings.manner))
    return look(paired(prompts, answers[0].replies, answers[1].replies), len(prompts), settings)


def look(pairs: Sequence[Pair], asked: int, settings: Settings) -> Check:
    """Whether `pairs` show that the new side is worse: in right answers by more than the margin, or in being right or
    saying what the old one says. Pure."""
    expected = (
        f"nothing that shows less than {settings.agreement:.0%} right or in agreement, or a loss in right answers"
    )
    if not pairs:
        why = f"the old side answered none of {asked} prompts"
        return Check.unknown(NAME, expected=expected, why=why, fix="see why it does not answer")
    right, limits = rights(pairs), agreeing(pairs, settings.model_copy(update={"confidence": CONFIDENCE}))
    lost = right.interval(CONFIDENCE).high < -settings.margin
    agreed = sum(pair.agrees for pair in pairs)
    return Check.that(
        NAME,
        limits.high >= settings.agreement and not lost,
        expected=expected,
        found=f"{agreed} of {len(pairs)} right or in agreement, {right.new:.0%} right against {right.old:.0%}",
        fix="check chat template, quantisation and context length of the new side",
    )
