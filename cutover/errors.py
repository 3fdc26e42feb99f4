"""Why a transition ends without its goal, and what that means for traffic.

CutoverError
├── StepFailed        a check does not hold: says what was expected, found, and the fix
├── CouldNotCheck     a check could not be made: not a pass, and not a difference either
└── Interrupted       asked to stop (SIGTERM, Ctrl-C)
"""

from __future__ import annotations


class CutoverError(Exception):
    """The root. `fix` is what a person can do about it."""

    verdict = "error"

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(f"{message}. {fix}" if fix else message)
        self.message = message
        self.fix = fix


class StepFailed(CutoverError):
    """A check does not hold."""

    verdict = "does not hold"


class CouldNotCheck(CutoverError):
    """A check could not be made."""

    verdict = "could not be checked"


class Interrupted(CutoverError):
    """Asked to stop before the goal was reached."""

    verdict = "interrupted"
