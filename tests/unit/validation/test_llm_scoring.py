"""One answer against its label, two answers against each other, and answers that are no language."""

from __future__ import annotations

from typing import Any

import pytest

from validation.llm_service.prompts import Prompt, load
from validation.llm_service.scoring import alike, degenerate, score

PROMPTS = {prompt.id: prompt for prompt in load()}


def prompt(**expect: Any) -> Prompt:
    body = {"id": "a", "kind": "b", "user": "c", "max_tokens": 8, "expect": expect}
    return Prompt.model_validate(body)


LABEL = prompt(by="exact", labels=["up", "down"], answer="up")
NUMBER = prompt(by="number", answer=1234.5, tolerance=0.01)
ORDER = prompt(by="refusal", codes=["SHORT", "HOURS"], answer=["SHORT"])
GOOD_ORDER = prompt(by="refusal", codes=["SHORT"], answer=[])
JSON = prompt(
    by="json", schema={"type": "object", "required": ["q"], "properties": {"q": {"type": ["integer", "null"]}}},
    value={"q": 3},
)  # fmt: skip
CODE = prompt(by="code", function="f", parameters=["a"], uses=["return", "loop|call:sum"], avoids=["try"])


@pytest.mark.parametrize(
    ("asked", "text", "valid", "right"),
    [
        (LABEL, "up", True, True),
        (LABEL, " **Up.**\n", True, True),
        (LABEL, "Answer: up", True, True),
        (LABEL, "down", True, False),
        (LABEL, "up or down", False, False),
        (LABEL, "The share goes up", False, False),
        (NUMBER, "1,234.50", True, True),
        (NUMBER, "$1234.505", True, True),
        (NUMBER, "−1234.5", True, False),
        (NUMBER, "about 1234.5 of 2000", False, False),
        (NUMBER, "1234.5 (1,234.50)", True, True),
        (NUMBER, "none", False, False),
        (ORDER, "REJECT SHORT", True, True),
        (ORDER, "Reject: short.", True, True),
        (ORDER, "REJECT", False, False),
        (ORDER, "REJECT HOURS", True, False),
        (ORDER, "REJECT MOON", False, False),
        (ORDER, "ACCEPT", True, False),
        (GOOD_ORDER, "ACCEPT", True, True),
        (GOOD_ORDER, "REJECT SHORT", True, False),
        (GOOD_ORDER, "ACCEPT SHORT", False, False),
        (JSON, '{"q": 3}', True, True),
        (JSON, '```json\n{"q": 3.0}\n```', True, True),
        (JSON, '{"q": 3, "z": 1}', True, False),
        (JSON, '{"q": null}', True, False),
        (JSON, '{"q": "3"}', False, False),
        (JSON, 'Here it is: {"q": 3}', False, False),
        (JSON, '{"q": NaN}', False, False),
        (JSON, '{"q": ' + "9" * 400 + "}", False, False),
        (JSON, "[" * 100_000, False, False),
        (CODE, "def f(a):\n    return sum(a)", True, True),
        (CODE, "Sure:\n```python\ndef f(a):\n    return sum(a)\n```\nDone.", True, True),
        (CODE, "```python\ndef f(a):\n    return sum(a)", True, True),  # cut off before the fence
        (CODE, "def f(a, b):\n    return sum(a)", True, False),
        (CODE, "def f(*a):\n    return sum(a)", True, False),
        (CODE, "def f(a):\n    return a", True, False),
        (CODE, "def f(a):\n    try:\n        return sum(a)\n    finally:\n        pass", True, False),
        (CODE, "import os\ndef f(a):\n    return sum(a)", True, False),
        (CODE, "def f(a):\n    return sum(eval(a))", True, False),
        (CODE, "def g(a):\n    return sum(a)", False, False),
        (CODE, "def f(a) return sum(a)", False, False),
        (CODE, "def f(a):\n    return sum(a)\x00", False, False),
        (CODE, "def f(a):\n    return " + "(" * 5000, False, False),
        (CODE, "x = 1\n" * 5000, False, False),
        (CODE, "", False, False),
    ],
)
def test_scores(asked: Prompt, text: str, valid: bool, right: bool) -> None:
    found = score(asked, text)
    assert (found.valid, found.right) == (valid, right)


def test_code_is_looked_at_and_never_run() -> None:
    text = "def f(a):\n    return sum(a)\nraise SystemExit('it was run')"
    assert score(CODE, text).right


@pytest.mark.parametrize(
    ("asked", "one", "other", "expected"),
    [
        (LABEL, "up", "Up.", True),
        (LABEL, "up", "down", False),
        (LABEL, "The share goes up today", "The share goes up", True),  # neither has the form: by their words
        (LABEL, "The share goes up", "I am a helpful assistant", False),
        (LABEL, "The share goes up", "up", False),
        (NUMBER, "1000", "1000.005", True),
        (NUMBER, "1000", "1001", False),
        (JSON, '{"q": 4}', '{ "q": 4.0 }', True),
        (JSON, '{"q": 4}', '{"q": 5}', False),
        (CODE, "def f(a):\n    return sum(a)", "def f(a):\n    # all\n    return sum( a )", True),
        (
            CODE,
            "def f(a):\n    total = 0\n    for x in a:\n        total += x\n    return total",
            "def f(a): pass",
            False,
        ),
        (LABEL, "", "", True),
        (LABEL, "", "words that say something", False),
    ],
)
def test_answers_that_say_the_same_agree(asked: Prompt, one: str, other: str, expected: bool) -> None:
    assert alike(asked, score(asked, one), score(asked, other)) is expected
    assert alike(asked, score(asked, other), score(asked, one)) is expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("profit \ufffd\ufffd", "broken characters"),
        ("a\x00b", "broken characters"),
        ("!" * 60, "a loop"),
        ("the price of the price of the price of the price of the price of the price of", "a loop"),
        ("\n".join(["buy"] * 40), "a loop"),
        ("!!!", ""),  # too short to tell
        ("186.90 186.90 186.91", ""),
        ("Profit grew by a fifth, and the board lifts its dividend.\n\tShares rise.", ""),
        (
            '{"side": "buy", "symbol": "AAPL", "quantity": 200, "order_type": "limit", "price": 187.2}',
            "",
        ),
        (
            "def f(values, n):\n    total = 0\n    for v in values[-n:]:\n        total += v\n    return total / n",
            "",
        ),
    ],
)
def test_what_is_no_language_is_told_by_name(text: str, fault: str) -> None:
    assert degenerate(text) == fault
