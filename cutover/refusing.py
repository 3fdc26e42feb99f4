"""Checks that were made before anything is touched: told to people, and refused where one does not hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cutover.context import CouldNotCheck, StepFailed
from validation.result import Check, Verdict

_WORDS = {Verdict.DOES_NOT_HOLD: "does not hold", Verdict.COULD_NOT_CHECK: "could not be checked"}


def tell(found: Sequence[Check], say: Callable[[str], None]) -> str:
    """Say each, then refuse what does not hold; how many hold. Raises as refuse does."""
    for check in found:
        say(f"    {'ok ' if check.outcome.passed else 'NOT'} {line(check)}")
    refuse(found)
    return f"{len(found)} items hold"


def line(check: Check) -> str:
    """`check` on one line: what was found, and what to do about it."""
    found = f"{check.found} ({check.detail})" if check.detail else check.found
    if check.outcome.passed:
        return f"{check.name}: {found}"
    return f"{check.name} {_WORDS[check.outcome]}: expected {check.expected}; found {found}. Fix: {check.fix}"


def refuse(found: Sequence[Check], what: str = "preflight") -> None:
    """Raise StepFailed where an item of `found` does not hold, CouldNotCheck where one could not be checked."""
    wrong = [check for check in found if check.outcome is Verdict.DOES_NOT_HOLD]
    unknown = [check for check in found if check.outcome is Verdict.COULD_NOT_CHECK]
    if not found:
        raise CouldNotCheck(f"{what} checked nothing", "This is a defect")
    if not wrong and not unknown:
        return
    counts = [f"{len(wrong)} do not hold"] * bool(wrong) + [f"{len(unknown)} could not be checked"] * bool(unknown)
    head = f"{what}: {' and '.join(counts)}, of {len(found)} items; nothing was changed"
    text = "\n".join([head, *(f"  - {line(check)}" for check in (*wrong, *unknown))])
    raise (StepFailed if wrong else CouldNotCheck)(text)
