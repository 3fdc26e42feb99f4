"""What orchestrators tell of the calls to a backend, added up, and whether a switch stays within its budget. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.llm_moving import Budget
from contracts.registry import AdapterRecord
from cutover.errors import CouldNotCheck
from validation.result import Verdict

EPOCH = "epoch"
"""In an adapter's status: the epoch of its figures, which are of the last minute. An older one's are of before."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the calls to one backend in the last minute, under one epoch, over all live orchestrators. Times in
    milliseconds, samples' too, and what calls have waited that are not answered yet: `p50` is the mean of the
    orchestrators' medians, by their calls, `p95` the worst of theirs; None where nobody told one. `fallbacks`: calls
    that the other side had to answer in its place; `in_flight`: under way there now, None where not everybody tells."""

    calls: int = 0
    answered: int = 0
    """Calls that it began to answer."""
    errors: int = 0
    fallbacks: int = 0
    p50: float | None = None
    p95: float | None = None
    samples: int = 0
    sample_errors: int = 0
    in_flight: int | None = 0

    @property
    def asked(self) -> int:
        """All that it was sent, samples included."""
        return self.calls + self.samples

    @property
    def waiting(self) -> int:
        """Calls that it neither began to answer nor failed."""
        return max(0, self.calls - self.answered - self.errors)

    @property
    def failures(self) -> int:
        """Calls that this backend failed. One that fell back may be told as an error, too: none counts twice."""
        return max(self.errors, self.fallbacks)


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions that the watch put to the orchestrator itself, and how many were answered wrongly, or not at all."""

    questions: int = 0
    wrong: int = 0
    example: str = ""

    def __add__(self, other: Asked) -> Asked:
        """Both together."""
        return Asked(
            self.questions + other.questions, self.wrong + other.wrong, other.example or self.example
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the budget is kept, and what was found."""

    verdict: Verdict
    found: str


def figures(records: Iterable[AdapterRecord], backend: str, epoch: int) -> Figures:
    """Of `backend`, under `epoch`. Raises CouldNotCheck for figures that are none."""
    told = [record for record in records if record.live and record.status.get(EPOCH) == str(epoch)]
    medians = [
        (_number(r, f"{backend}.ttft_p50_ms"), _count(r, f"{backend}.calls") + _count(r, f"{backend}.samples"))
        for r in told
    ]
    known = [(value, calls) for value, calls in medians if value is not None and calls > 0]
    worst = [value for r in told if (value := _number(r, f"{backend}.ttft_p95_ms")) is not None]
    flying = [_number(record, f"{backend}.in_flight") for record in told]

    def total(name: str) -> int:
        return sum(_count(record, f"{backend}.{name}") for record in told)

    return Figures(
        calls=total("calls"),
        answered=total("answered"),
        errors=total("errors"),
        fallbacks=total("fallbacks"),
        p50=sum(value * calls for value, calls in known) / sum(calls for _, calls in known) if known else None,
        p95=max(worst) if worst else None,
        samples=total("samples"),
        sample_errors=total("sample_errors"),
        in_flight=None if None in flying else int(sum(value or 0 for value in flying)),
    )


def _count(record: AdapterRecord, key: str) -> int:
    return int(_number(record, key) or 0)


def _number(record: AdapterRecord, key: str) -> float | None:
    text = record.status.get(key, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise CouldNotCheck(f"{record.name} tells {key} as {text!r}, which is no figure", "See its log") from None
    return value


def allowed(calls: int, budget: Budget) -> int:
    """How many of `calls` may fail. One, where their number is too small for the rate to say anything."""
    return 0 if budget.error_rate == 0 else max(1, int(budget.error_rate * calls))


def judged(new: Figures, old_p50: float | None, asked: Asked, budget: Budget) -> Judgement:
    """Whether what was told of the side that came to serve keeps the budget. `old_p50`: the median of the side that
    served, None where that is not to be judged. Too few calls are no pass."""
    meant = max(new.calls, new.failures)  # a side that keeps failing is not asked any more, and calls fall back at once
    may_fail = allowed(meant, budget)
    if new.failures > may_fail:
        return Judgement(
            Verdict.DOES_NOT_HOLD,
            f"{new.failures} of {meant} calls failed, {may_fail} may (budget.error_rate {budget.error_rate:g})",
        )
    if asked.wrong > allowed(asked.questions, budget):
        return Judgement(
            Verdict.DOES_NOT_HOLD,
            f"{asked.wrong} of {asked.questions} questions of the watch were not answered well: {asked.example}",
        )
    most_wait = new.waiting > new.answered
    if old_p50 is not None and new.p50 is not None and too_slow(new.p50, old_p50, budget):
        if most_wait and new.calls >= budget.calls:
            hang = f"{new.waiting} of {new.calls} calls wait: {slower(new.p50, old_p50, budget)}"
            return Judgement(Verdict.DOES_NOT_HOLD, hang)
        if not most_wait and new.answered >= budget.calls:
            return Judgement(Verdict.DOES_NOT_HOLD, slower(new.p50, old_p50, budget))
    return _enough(new, budget) or Judgement(Verdict.HOLDS, told(new))


def _enough(new: Figures, budget: Budget) -> Judgement | None:
    """What is not known yet; None where it is."""
    if new.answered < budget.calls:
        return Judgement(Verdict.COULD_NOT_CHECK, f"{new.answered} answers are known, it takes {budget.calls}")
    if new.waiting > new.answered:
        return Judgement(Verdict.COULD_NOT_CHECK, f"{new.waiting} of {new.calls} calls still wait for an answer")
    return None


def too_slow(new: float, old: float, budget: Budget) -> bool:
    """Whether a first token after `new` ms is beyond the budget, where it took `old` ms before."""
    return new > budget.ttft_ms and new > budget.ttft_ratio * old


def slower(new: float, old: float, budget: Budget) -> str:
    """That the first token takes too long, in milliseconds."""
    return (
        f"the first token takes {new:.0f} ms, {old:.0f} ms at the side that served before: more than "
        f"{budget.ttft_ratio:g} times as long (budget.ttft_ratio)"
    )


def told(found: Figures) -> str:
    """Figures for people."""
    first = f", first token after {found.p50:.0f} ms" if found.p50 is not None else ""
    worst = f" (p95 {found.p95:.0f} ms)" if found.p50 is not None and found.p95 is not None else ""
    return f"{found.calls} calls, {found.failures} failed{first}{worst}"
