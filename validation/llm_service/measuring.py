"""The figures of one side's answers: how fast, how many, at what cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from validation.llm_service.asking import Answers, Price

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed. There must be one."""
    return sorted(values)[max(math.ceil(len(values) * share) - 1, 0)]


def figures(answers: Answers, price: Price | None) -> dict[str, float]:
    """By name; what nothing was measured of is left out. Times in ms; tokens a second over the whole time of asking,
    so with as many calls in flight as there were."""
    answered = [reply for reply in answers.replies if reply.answered]
    firsts = [reply.first * 1e3 for reply in answered if reply.first is not None]
    gaps = [gap * 1e3 for reply in answered for gap in reply.gaps]
    totals = [reply.seconds * 1e3 for reply in answered]
    found: dict[str, float] = {"answered": len(answered), "unanswered": len(answers.replies) - len(answered)}
    for name, values in (("ttft_ms", firsts), ("gap_ms", gaps), ("answer_ms", totals)):
        if values:
            found |= {f"{name}_{key}": round(quantile(values, share), 2) for key, share in _QUANTILES.items()}
    tokens = sum(reply.tokens for reply in answered)
    found |= {"tokens": tokens, "prompt_tokens": sum(reply.prompt_tokens for reply in answered)}
    if answers.seconds > 0:
        found["tokens_per_second"] = round(tokens / answers.seconds, 2)
    logprobs = [reply.logprob for reply in answered if reply.logprob is not None]
    if logprobs:
        found["logprob"] = round(math.fsum(logprobs) / len(logprobs), 4)
    cost = _cost_of_1000(found, price, answers.seconds)
    if cost is not None:
        found["cost_per_1000_tokens"] = cost
    return found


def _cost_of_1000(found: Mapping[str, float], price: Price | None, seconds: float) -> float | None:
    """What 1,000 generated tokens cost, with the prompts that belong to them. An hourly price is that of the load that
    was offered: a GPU that is busier costs less a token."""
    if price is None or not found["tokens"]:
        return None
    total = found["prompt_tokens"] * price.input_per_million / 1e6
    total += found["tokens"] * price.output_per_million / 1e6
    total += seconds / 3600 * price.per_hour
    return round(total / found["tokens"] * 1000, 6)
