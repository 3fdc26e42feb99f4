"""Who judges models for a switch, two at a time. What they ask, and how they judge, is not said here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from contracts.llm_moving import LlmMoving
from cutover.llm_service.asking import Model
from validation.result import Check, Report


class Judges(Protocol):
    """Whether one model may take the place of another. Both ask both, and run on a thread of their own; raise
    CutoverError, LLMError."""

    def judge(self, old: Model, new: Model) -> Report:
        """The quality gate: whether `new` is shown to be no worse than `old`. May take minutes."""

    def sample(self, old: Model, new: Model, count: int) -> Check:
        """While `new` serves: whether `count` questions show that it is worse. Few cannot show that it is not."""


def fingerprint(pairs: Sequence[tuple[Model, Model]], moving: LlmMoving) -> str:
    """Of all that a verdict rests on: who was asked, what our own models are, the prompts, the margins."""
    prompts = b""
    if moving.prompts is not None:
        with suppress(OSError):  # the gate itself says what is wrong with it
            prompts = Path(moving.prompts).read_bytes()
    places = [model.place for pair in pairs for model in pair]
    told = json.dumps([places, moving.own, moving.quality.model_dump_json(), hashlib.sha256(prompts).hexdigest()])
    return hashlib.sha256(told.encode()).hexdigest()[:32]
