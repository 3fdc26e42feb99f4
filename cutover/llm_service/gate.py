"""The quality gate as a switch sees it: two models, one Report. What it asks, and how it judges, is not said here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from contracts.llm_moving import LlmMoving
from cutover.llm_service.asking import Model
from validation.result import Report


class Gate(Protocol):
    """Judges whether one model may take the place of another."""

    def __call__(self, old: Model, new: Model) -> Report:
        """Ask both, and judge `new` against `old`. May take minutes; runs on a thread of its own. Raises LLMError."""


def fingerprint(pairs: Sequence[tuple[Model, Model]], moving: LlmMoving) -> str:
    """Of all that a verdict rests on: who was asked, what our own models are, the prompts, the margins."""
    prompts = b""
    if moving.prompts is not None:
        with suppress(OSError):  # the gate itself says what is wrong with it
            prompts = Path(moving.prompts).read_bytes()
    places = [model.place for pair in pairs for model in pair]
    told = json.dumps([places, moving.own, moving.quality.model_dump_json(), hashlib.sha256(prompts).hexdigest()])
    return hashlib.sha256(told.encode()).hexdigest()[:32]
