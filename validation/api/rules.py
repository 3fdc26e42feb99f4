"""What two answers to one request may differ in, by endpoint. What no rule names must be the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contracts import names


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Of one endpoint; its fields are patterns of dotted names: `*` is any one part, `**` at the end is all from there.

    `volatile`: may have another value, but must be there. `optional`: may be missing, too. `form`: the same names and
    types, whatever the values. `moving`: as `form` while a service works, and as all else where nothing new came
    between the two (`settled`). `tolerance`: how far numbers may lie apart, as a fraction. `alike`: statuses that mean
    the same. All but `alike` is of answers to requests that succeeded: a refusal must be the same in each word.
    """

    service: str
    method: str
    path: str
    volatile: Sequence[str] = ()
    optional: Sequence[str] = ()
    form: Sequence[str] = ()
    moving: Sequence[str] = ()
    tolerance: Mapping[str, float] = field(default_factory=dict)
    alike: Sequence[int] = ()

    def covers(self, service: str, method: str, path: str) -> bool:
        """Whether it is of this endpoint. `path` may hold a query."""
        return (self.service, self.method) == (service, method) and bool(
            re.fullmatch(self.path, path.partition("?")[0])
        )


def matches(pattern: str, name: str) -> bool:
    """Whether the dotted `name` is one that `pattern` means."""
    wanted, parts = pattern.split("."), name.split(".") if name else []
    if wanted[-1] == "**":
        wanted = wanted[:-1]
        parts = parts[: len(wanted)] if len(parts) >= len(wanted) else parts
    return len(wanted) == len(parts) and all(one in ("*", part) for one, part in zip(wanted, parts, strict=True))


def named(patterns: Sequence[str], name: str) -> bool:
    """Whether one of `patterns` means `name`."""
    return any(matches(pattern, name) for pattern in patterns)


def rule_of(rules: Sequence[Rule], service: str, method: str, path: str) -> Rule:
    """The first rule of an endpoint; one that lets nothing differ where there is none."""
    found = next((rule for rule in rules if rule.covers(service, method, path)), None)
    return found or Rule(service=service, method=method, path=re.escape(path))


_NUMBERED = ("items.*.number", "next")
"""Of the database's own sequence: how many were given out depends on what was tried again."""
_RUN_TIMES = ("id", "engine", "submitted_at", "started_at", "ended_at")
"""A run's id names its engine, too; both differ by stage."""
RESULT_TOLERANCE = 1e-9
"""Of amounts and prices of a backtest: two engines add in another order."""
_PROVIDERS_OWN = (
    "*.system_fingerprint", "*.service_tier", "*.x_groq", "*.timings", "*.usage.**", "*.usage", "*.usage_breakdown",
    "*.prompt_logprobs", "*.prompt_token_ids", "*.kv_transfer_params", "*.metadata",
    *(f"*.choices.*.{name}" for name in ("logprobs", "stop_reason", "token_ids", "finish_reason")),
    *(f"*.choices.*.{kind}.{name}" for kind in ("message", "delta") for name in (
        "refusal", "annotations", "audio", "function_call", "tool_calls", "reasoning", "reasoning_content", "role",
        "executed_tools")),
)  # fmt: skip
"""What one provider's answers have beyond OpenAI's own, and others need not."""

RULES = (
    Rule(service=names.TRADING_ENGINE_NAME, method="GET", path="/positions", moving=["items.**", "next"]),
    Rule(
        service=names.TRADING_ENGINE_NAME, method="GET", path="/orders", moving=["items.**"],
        volatile=[*_NUMBERED, *(f"items.*.{name}" for name in (
            "order_id", "signal_id", "source_event_id", "created_at", "filled_at"))],
    ),
    Rule(
        service=names.TRADING_ENGINE_NAME, method="GET", path="/signals", moving=["items.**"],
        # A comment is a model's, and comes later.
        volatile=[*_NUMBERED, *(f"items.*.{name}" for name in (
            "signal_id", "source_event_id", "created_at", "comment"))],
    ),
    Rule(
        service=names.MARKET_FEED_NAME, method="GET", path="/feed", volatile=["published", "failed", "in_flight"]
    ),
    Rule(
        service=names.LLM_ORCHESTRATOR_NAME, method="POST", path="/v1/chat/completions", form=["**"],
        optional=[pattern.removeprefix("*.") for pattern in _PROVIDERS_OWN] + list(_PROVIDERS_OWN),
    ),
    Rule(
        service=names.BACKTESTING_NAME, method="POST", path="/backtests", volatile=[*_RUN_TIMES, "state"],
        alike=[200, 202],  # known from before, or not
    ),
    Rule(service=names.BACKTESTING_NAME, method="GET", path="/backtests/[^/]+", volatile=_RUN_TIMES),
    Rule(
        service=names.BACKTESTING_NAME, method="GET", path="/backtests/[^/]+/result",
        volatile=["engine", "engine_version"], optional=["versions.**"], tolerance={"**": RESULT_TOLERANCE},
    ),
    Rule(service=names.BACKTESTING_NAME, method="GET", path="/offer", volatile=["engines", "engines.**", "serving"]),
)  # fmt: skip
"""Of the example services."""
