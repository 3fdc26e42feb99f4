"""The quality gate as a switch sees it: two models, one Report. What it asks, and how it judges, is not said here."""

from __future__ import annotations

from typing import Protocol

from cutover.llm_service.asking import Model
from validation.result import Report


class Gate(Protocol):
    """Judges whether one model may take the place of another."""

    def __call__(self, old: Model, new: Model) -> Report:
        """Ask both, and judge `new` against `old`. May take minutes; runs on a thread of its own. Raises LLMError."""
