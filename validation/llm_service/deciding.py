"""Decides by both sides' answers whether the new side is no worse. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, stdev

from validation.llm_service.asking import Answers, Side
from validation.llm_service.measuring import figures
from validation.llm_service.paired import Comparison, Interval, Pairs, wilson
from validation.llm_service.prompts import Prompt
from validation.llm_service.scoring import Scored, alike, degenerate, score
from validation.llm_service.settings import Settings
from validation.llm_service.streams import Reply
from validation.result import Check, Report, Verdict

ACCURACY = "accuracy"
_EXAMPLES = 3
_FEWEST_TIMES = 20
"""Below it a p95 is the slowest of all, and says nothing of the next one."""
_VERDICTS = {
    Comparison.BETTER: Verdict.HOLDS,
    Comparison.NOT_WORSE: Verdict.HOLDS,
    Comparison.WORSE: Verdict.DOES_NOT_HOLD,
    Comparison.NOT_ENOUGH_DATA: Verdict.COULD_NOT_CHECK,
}
_NOTHING = Scored(valid=False, right=False, said="")


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt that the old side answered, and what the new side made of it. `dealt`: what the old side answered to
    the next prompt of the same kind, scored as an answer to this one; None where there is no other."""

    prompt: Prompt
    old_reply: Reply
    new_reply: Reply
    old: Scored
    new: Scored
    dealt: Scored | None

    @property
    def agrees(self) -> bool:
        """Whether the new side is right, or says what the old one says."""
        return self.new_reply.answered and self._follows(self.new)

    @property
    def dealt_agrees(self) -> bool:
        """The same of an answer that has nothing to do with the question."""
        return self.dealt is not None and self._follows(self.dealt)

    def _follows(self, answer: Scored) -> bool:
        return answer.right or alike(self.prompt, self.old, answer)


def decide(
    sides: tuple[Side, Side], prompts: Sequence[Prompt], answers: tuple[Answers, Answers], settings: Settings,
    subject: str,
) -> Report:  # fmt: skip
    """The report on the answers of the old and the new side to `prompts`."""
    (old, new), measured = answers, [figures(one, side.price) for one, side in zip(answers, sides, strict=True)]
    pairs = paired(prompts, old.replies, new.replies)
    checks = [
        _answered(sides[0], old.replies, settings, reference=True),
        _answered(sides[1], new.replies, settings, reference=False),
        _compared(ACCURACY, rights(pairs), settings.margin, settings, "right"),
        _kinds(pairs, settings),
        _compared("format", _valid(pairs), settings.format_margin, settings, "of the form that was asked for"),
        _agreement(pairs, settings),
        _control(pairs, settings),
        _language(pairs, settings),
        *_logprobs(pairs, settings),
        *_first_tokens(old.replies, new.replies, measured, settings),
        *_costs(measured, settings),
    ]
    return Report(subject=subject, checks=tuple(checks), figures=_figures(pairs, measured, settings))


def paired(prompts: Sequence[Prompt], old: Sequence[Reply], new: Sequence[Reply]) -> list[Pair]:
    """A pair for each prompt that the old side answered. What the new side left unanswered counts as wrong."""
    known = [one for one in zip(prompts, old, new, strict=True) if one[1].answered]
    by_kind: dict[str, list[Reply]] = {}
    for prompt, reply, _ in known:
        by_kind.setdefault(prompt.kind, []).append(reply)
    places: Counter[str] = Counter()
    found = []
    for prompt, reply, other in known:
        places[prompt.kind] += 1
        kind = by_kind[prompt.kind]
        dealt = score(prompt, kind[places[prompt.kind] % len(kind)].text) if len(kind) > 1 else None
        answer = score(prompt, other.text) if other.answered else _NOTHING
        found.append(Pair(prompt, reply, other, score(prompt, reply.text), answer, dealt))
    return found


def rights(pairs: Iterable[Pair]) -> Pairs:
    """Who was right."""
    return Pairs.of((pair.old.right, pair.new.right) for pair in pairs)


def _valid(pairs: Iterable[Pair]) -> Pairs:
    return Pairs.of((pair.old.valid, pair.new.valid) for pair in pairs)


def _answered(side: Side, replies: Sequence[Reply], settings: Settings, *, reference: bool) -> Check:
    """Without the old side's answers nothing can be said; a new side that does not answer is worse."""
    name, expected = f"answers of {side.name}", f"at most {settings.unanswered:.1%} without one"
    errors = Counter(reply.error for reply in replies if not reply.answered)
    told = "; ".join(f"{count} x {error}" for error, count in errors.most_common(_EXAMPLES))
    found, fix = (
        f"{errors.total()} of {len(replies)} without one",
        f"see why {side.name} does not answer as {side.model}",
    )
    holds = errors.total() <= settings.unanswered * len(replies)
    if not replies or (reference and not holds):
        return Check.unknown(name, expected=expected, why=f"{found}: {told}" if replies else "no prompts", fix=fix)
    return Check.that(name, holds, expected=expected, found=found, fix=fix, detail=told)


def _compared(name: str, pairs: Pairs, margin: float, settings: Settings, what: str) -> Check:
    verdict, limits = pairs.compare(margin, settings.confidence), pairs.interval(settings.confidence)
    found = (
        f"{verdict}: {pairs.new:.1%} against {pairs.old:.1%} {what}, "
        f"difference {pairs.difference:+.1%} ({limits.low:+.1%} to {limits.high:+.1%}, {pairs.count} pairs)"
    )
    fixes = {
        Comparison.WORSE: "see the examples; check chat template, quantisation and context length of the new side",
        Comparison.NOT_ENOUGH_DATA: "add prompts of your own: the interval is wider than the margin",
    }
    expected = f"lower limit above {-margin:+.1%} at {settings.confidence:.0%}"
    outcome = _VERDICTS[verdict]
    return Check(name=name, outcome=outcome, expected=expected, found=found, fix=fixes.get(verdict, ""))


def _kinds(pairs: Sequence[Pair], settings: Settings) -> Check:
    """A loss in one kind of questions drowns among the others. A kind alone is too small to show that it is no worse;
    but it can show that it is worse."""
    worse, floor = [], settings.agreement / 2
    for kind in _kinds_of(pairs):
        own = [pair for pair in pairs if pair.prompt.kind == kind]
        found, followed = rights(own), agreeing(own, settings)
        if found.interval(settings.confidence).high < -settings.margin:
            worse.append(f"{kind}: {found.new:.0%} right against {found.old:.0%}")
        elif followed.high < floor:
            worse.append(f"{kind}: at most {followed.high:.0%} right or in agreement")
    return Check.none_wrong(
        "no kind is worse", wrong=len(worse), of=len(_kinds_of(pairs)), detail="; ".join(worse),
        what=f"kinds whose upper limit is below {-settings.margin:+.1%}, or below {floor:.0%} in agreement",
        fix="see what the new side answers to that kind of question",
    )  # fmt: skip


def _agreement(pairs: Sequence[Pair], settings: Settings) -> Check:
    limits, followed = agreeing(pairs, settings), [pair for pair in pairs if pair.agrees]
    verdict = _above(limits, settings.agreement)
    odd = [pair for pair in pairs if not pair.agrees][:_EXAMPLES]
    examples = "; ".join(
        f"{pair.prompt.id}: {_short(pair.new_reply)} where the old side says {_short(pair.old_reply)}" for pair in odd
    )
    return Check(
        name="agreement", outcome=verdict,
        expected=f"the new side right, or saying what the old one says: lower limit at least {settings.agreement:.0%}",
        found=f"{len(followed)} of {len(pairs)} ({limits.low:.1%} to {limits.high:.1%})",
        detail="" if verdict.passed else examples,
        fix="" if verdict.passed else "check chat template, quantisation and context length of the new side; for "
        "models that are known to differ, lower quality.agreement",
    )  # fmt: skip


def _control(pairs: Sequence[Pair], settings: Settings) -> Check:
    """The gate's own test: the old side's answers, dealt to the wrong questions, must not pass."""
    dealt = [pair for pair in pairs if pair.dealt is not None]
    right = Pairs.of((pair.old.right, pair.dealt is not None and pair.dealt.right) for pair in dealt)
    by_accuracy = not right.compare(settings.margin, settings.confidence).passed
    limits = wilson(sum(pair.dealt_agrees for pair in dealt), len(dealt), settings.confidence)
    by_agreement = not _above(limits, settings.agreement).passed
    expected = "the old side's answers to other questions are refused"
    if dealt and (by_accuracy or by_agreement):
        how = " and ".join(
            name for name, seen in ((ACCURACY, by_accuracy), ("agreement", by_agreement)) if seen
        )  # fmt: skip
        return Check.that("control", True, expected=expected, found=f"refused by {how}")
    why = (
        f"they would pass ({right.new:.1%} right, {limits.low:.1%} to {limits.high:.1%} in agreement): whatever the "
        "question, the old side says much the same, so what follows it proves nothing"
    )
    return Check.unknown(
        "control", expected=expected, why=why if dealt else "no kind has two prompts",
        fix="add prompts that the old side answers, and answers differently",
    )  # fmt: skip


def _language(pairs: Sequence[Pair], settings: Settings) -> Check:
    faults = [(degenerate(pair.old_reply.text), degenerate(pair.new_reply.text)) for pair in pairs]
    seen = Counter(fault for _, fault in faults if fault)
    check = _compared(
        "language", Pairs.of((not old, not new) for old, new in faults), settings.degenerate_margin, settings,
        "neither empty nor broken nor a loop",
    )  # fmt: skip
    return check.model_copy(update={"detail": ", ".join(f"{count} x {fault}" for fault, count in seen.most_common())})


def _logprobs(pairs: Sequence[Pair], settings: Settings) -> list[Check]:
    """How sure each side is of its own words. A model that is fed what it was not made for is less so."""
    differences = [
        pair.new_reply.logprob - pair.old_reply.logprob
        for pair in pairs
        if pair.new_reply.logprob is not None and pair.old_reply.logprob is not None
    ]
    if len(differences) < 2:
        return []
    mean = math.fsum(differences) / len(differences)
    low = mean - NormalDist().inv_cdf(settings.confidence) * stdev(differences) / math.sqrt(len(differences))
    return [
        Check.that(
            "log-probability", low > -settings.logprob_margin,
            expected=f"lower limit above {-settings.logprob_margin:+.2f} nats a token", fix="as for agreement",
            found=f"{mean:+.2f} (at least {low:+.2f}, {len(differences)} pairs)",
        )
    ]  # fmt: skip


def _first_tokens(
    old: Sequence[Reply], new: Sequence[Reply], measured: Sequence[Mapping[str, float]], settings: Settings
) -> list[Check]:
    limit = settings.ttft_ratio
    if limit is None:
        return []
    name, expected = "time to the first token", f"p95 at most {limit:g} times the old side's"
    timed = [sum(reply.answered and reply.first is not None for reply in replies) for replies in (old, new)]
    if min(timed) < _FEWEST_TIMES:
        why = f"{timed[0]} and {timed[1]} answers had a first token; {_FEWEST_TIMES} are needed"
        return [Check.unknown(name, expected=expected, why=why, fix="add prompts, or see why sides do not answer")]
    before, after = (one["ttft_ms_p95"] for one in measured)
    found = f"{after:.0f} ms against {before:.0f} ms"
    fix = "give the new side more or larger replicas, or raise quality.ttft_ratio"
    return [Check.that(name, after <= limit * before, expected=expected, found=found, fix=fix)]


def _costs(measured: Sequence[Mapping[str, float]], settings: Settings) -> list[Check]:
    limit = settings.cost_ratio
    if limit is None:
        return []
    name, expected = "cost of 1,000 tokens", f"at most {limit:g} times the old side's"
    before, after = (one.get("cost_per_1000_tokens") for one in measured)
    if before is None or after is None:
        return [Check.unknown(name, expected=expected, why="a side has no price", fix="state both sides' prices")]
    found = f"{after:.4f} against {before:.4f}"
    return [Check.that(name, after <= limit * before, expected=expected, found=found, fix="see docs/llm-quality.md")]


def _figures(
    pairs: Sequence[Pair], measured: Sequence[Mapping[str, float]], settings: Settings
) -> dict[str, float]:  # fmt: skip
    """Numbers for machines: `old.` and `new.` before what is of one side."""
    found: dict[str, float] = {
        f"{name}.{key}": value for name, one in zip(("old", "new"), measured, strict=True) for key, value in one.items()
    }
    for name, one in {ACCURACY: rights(pairs), "format": _valid(pairs)}.items():
        limits = one.interval(settings.confidence)
        found |= {f"old.{name}": one.old, f"new.{name}": one.new, f"{name}_difference": one.difference}
        found |= {f"{name}_low": limits.low, f"{name}_high": limits.high}
    for kind in _kinds_of(pairs):
        of = rights(pair for pair in pairs if pair.prompt.kind == kind)
        found |= {f"old.accuracy.{kind}": of.old, f"new.accuracy.{kind}": of.new}
    found["pairs"] = len(pairs)
    if pairs:
        found["agreement"] = sum(pair.agrees for pair in pairs) / len(pairs)
        found["agreement_of_control"] = sum(pair.dealt_agrees for pair in pairs) / len(pairs)
    return {name: round(value, 6) for name, value in found.items()}


def _kinds_of(pairs: Iterable[Pair]) -> list[str]:
    return sorted({pair.prompt.kind for pair in pairs})


def agreeing(pairs: Sequence[Pair], settings: Settings) -> Interval:
    """The limits of the share in which the new side is right, or says what the old one says."""
    return wilson(sum(pair.agrees for pair in pairs), len(pairs), settings.confidence)


def _above(limits: Interval, floor: float) -> Verdict:
    if limits.low >= floor:
        return Verdict.HOLDS
    return Verdict.DOES_NOT_HOLD if limits.high < floor else Verdict.COULD_NOT_CHECK


def _short(reply: Reply) -> str:
    text = " ".join(reply.text.split())
    return repr(text if len(text) <= 40 else text[:37] + "...")
