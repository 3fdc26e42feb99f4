"""Scores one answer against its label, and says whether two answers agree. Pure; nothing of an answer is ever run."""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from validation.llm_service import code, schemas
from validation.llm_service.prompts import Code, Exact, JsonValue, Number, Prompt, Refusal

ALIKE = 0.5
"""From which share of common word pairs on two free texts count as the same answer (Dice's coefficient)."""
SHORTEST_LOOP = 48
"""Characters. Below it, an answer is too short to tell a loop from a list of numbers."""
LOOP_RATIO = 3.0
"""How far zlib shrinks a text that goes round in a loop. Prose and code of that length shrink by 1.1 to 2.5; Whisper's
decoder gives up at 2.4, over longer texts."""
_FENCE = re.compile(r"^```[a-zA-Z0-9]*\n(.*?)\n?```$", re.DOTALL)
_NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+−]?\.\d+")
_DECISION = re.compile(r"(ACCEPT|REJECT)(?:\W+([A-Z_]+))?")
_LEAD = re.compile(r"^(?:answer|category|sentiment|result|decision)\s*[:=]\s*", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f�]")


@dataclass(frozen=True, slots=True)
class Scored:
    """What an answer says, reduced to what counts. `valid`: it has the form that was asked for; `right`: it is what the
    label says; `said`: its content in one spelling."""

    valid: bool
    right: bool
    said: str


def score(prompt: Prompt, text: str) -> Scored:
    """`text` as the answer to `prompt`."""
    match prompt.expect:
        case Exact() as label:
            return _exact(label, text)
        case JsonValue() as wanted:
            return _json(wanted, text)
        case Number() as number:
            return _number(number, text)
        case Refusal() as decision:
            return _refusal(decision, text)
        case Code() as function:
            return _code(function, text)


def alike(prompt: Prompt, one: Scored, other: Scored) -> bool:
    """Whether two answers to `prompt` say the same. Numbers within the tolerance do; code and what has not the form
    that was asked for is compared by its words."""
    if one.said == other.said:
        return True
    if one.valid and other.valid and isinstance(prompt.expect, Number):
        return abs(float(one.said) - float(other.said)) <= prompt.expect.tolerance
    free = isinstance(prompt.expect, Code) or not (one.valid or other.valid)
    return free and _overlap(one.said, other.said) >= ALIKE


def degenerate(text: str) -> str:
    """What shows that `text` is no language, whatever was asked: empty, broken characters, or a loop; "" otherwise."""
    if not text.strip():
        return "empty"
    if _CONTROL.search(text):
        return "broken characters"
    raw = " ".join(text.split()).encode()
    if len(raw) >= SHORTEST_LOOP and len(raw) / len(zlib.compress(raw, 9)) >= LOOP_RATIO:
        return "a loop"
    return ""


def _exact(label: Exact, text: str) -> Scored:
    said = _LEAD.sub("", _plain(text)).strip(" \t\n.!\"'`*:").casefold()
    valid = said in {one.casefold() for one in label.labels}
    return Scored(valid, said == label.answer.casefold(), said)


def _json(wanted: JsonValue, text: str) -> Scored:
    bare = text.strip()
    fenced = _FENCE.match(bare)
    try:
        value = json.loads(fenced[1] if fenced else bare, parse_constant=_no_constant)
        said = json.dumps(_spelled(value), sort_keys=True)
    except (ValueError, OverflowError, RecursionError):
        return Scored(False, False, _plain(text))
    valid = schemas.fits(value, wanted.form)
    return Scored(valid, valid and said == json.dumps(_spelled(wanted.value), sort_keys=True), said)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _spelled(value: Any) -> Any:
    """`value` with what means the same spelled the same: 187.20 and 187.2, 3 and 3.0, AAPL and aapl."""
    if isinstance(value, dict):
        return {key: _spelled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_spelled(one) for one in value]
    if isinstance(value, str):
        return value.strip().casefold()
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _number(wanted: Number, text: str) -> Scored:
    said = _plain(text)
    found = {float(found.replace(",", "").replace("−", "-")) for found in _NUMBER.findall(said)}
    if len(found) != 1:
        return Scored(False, False, said)
    value = found.pop()
    return Scored(True, abs(value - wanted.answer) <= wanted.tolerance, repr(value))


def _refusal(wanted: Refusal, text: str) -> Scored:
    said = _LEAD.sub("", _plain(text)).strip(" .!\"'`*")
    found = _DECISION.fullmatch(said.upper())
    decision, name = (found[1], found[2]) if found else ("", None)
    valid = (decision == "ACCEPT" and name is None) or (decision == "REJECT" and name in wanted.codes)
    if not valid:
        return Scored(False, False, said)
    right = decision == ("REJECT" if wanted.answer else "ACCEPT") and (name is None or name in wanted.answer)
    return Scored(True, right, f"{decision} {name or ''}".strip())


def _code(wanted: Code, text: str) -> Scored:
    found = code.written(text, wanted.function)
    if found is None:
        return Scored(False, False, _plain(text))
    right = (
        found.parameters == wanted.parameters
        and found.is_safe
        and all(found.has(one) for one in wanted.uses)
        and not any(found.has(one) for one in wanted.avoids)
    )
    return Scored(True, right, found.plain)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _overlap(one: str, other: str) -> float:
    """Dice's coefficient of the word pairs of both; of the words, where a text has only one."""
    mine, theirs = _pairs(one), _pairs(other)
    total = mine.total() + theirs.total()
    return 2 * (mine & theirs).total() / total if total else 1.0


def _pairs(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+|[^\w\s]", text.casefold())
    return Counter(pairwise(words)) if len(words) > 1 else Counter([tuple(words)])
