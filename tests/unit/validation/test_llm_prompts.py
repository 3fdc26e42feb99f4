"""The shipped prompts: enough, balanced, and with labels that are right; and files of users that are not."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from local.images.builder import code_files
from local.images.definition import load as load_image
from tests.unit.validation.llm_solutions import SOLUTIONS
from validation.llm_service.prompts import (
    SHIPPED,
    BadPrompts,
    Code,
    Exact,
    JsonValue,
    Number,
    Prompt,
    Refusal,
    load,
    read,
    stratified,
)
from validation.llm_service.scoring import score

PROMPTS = load()
Bar = tuple[float, float, float, float, float]


def of(kind: str) -> list[Prompt]:
    return [prompt for prompt in PROMPTS if prompt.kind == kind]


def test_there_are_enough_and_each_kind_is_there_as_often() -> None:
    assert len(PROMPTS) >= 200
    counts = Counter(prompt.kind for prompt in PROMPTS)
    assert counts.pop("context") >= 10  # long ones, by which a context that is cut off is seen
    assert set(counts) == {"extraction", "sentiment", "classification", "arithmetic", "order_check", "code"}
    assert max(counts.values()) == min(counts.values())
    assert len({prompt.user for prompt in PROMPTS}) == len(PROMPTS)


def test_no_label_of_a_kind_is_so_frequent_that_saying_it_always_would_do() -> None:
    for kind in ("sentiment", "classification"):
        answers = Counter(prompt.expect.answer for prompt in of(kind) if isinstance(prompt.expect, Exact))
        assert max(answers.values()) <= 0.4 * answers.total()
    decisions = Counter(
        bool(prompt.expect.answer) for prompt in of("order_check") if isinstance(prompt.expect, Refusal)
    )
    assert decisions[False] >= 10  # who refuses everything is wrong, too


def spelled(prompt: Prompt) -> str:
    """The label as a model would write it."""
    match prompt.expect:
        case Exact(answer=answer):
            return f"{answer.capitalize()}."
        case JsonValue(value=value):
            return f"```json\n{json.dumps(value, indent=2)}\n```"
        case Number(answer=answer):
            return f"{answer:,.3f}"
        case Refusal(answer=answer):
            return f"REJECT {answer[0]}" if answer else "ACCEPT"
        case Code(function=name):
            return SOURCES[name]


SOURCES = {node.name: ast.unparse(node) for node in ast.parse(SOLUTIONS).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.id)
def test_the_label_itself_is_scored_right_and_another_prompts_is_not(prompt: Prompt) -> None:
    assert score(prompt, spelled(prompt)).right
    others = [spelled(other) for other in of(prompt.kind) if spelled(other) != spelled(prompt)]
    wrong = [other for other in others if not score(prompt, other).right]
    assert len(wrong) >= 0.6 * len(others)


def bars_of(prompt: Prompt) -> tuple[list[Bar], str]:
    *lines, question = prompt.user.split("\n")
    rows = [[float(value) for value in line.split()[1:]] for line in lines]
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows], question


def drawdown(bars: Sequence[Bar]) -> float:
    closes = [bar[3] for bar in bars]
    return max(0.0, *((1 - later / closes[place]) * 100 for place in range(len(closes)) for later in closes[place:]))


def halving(bars: Sequence[Bar]) -> float:
    value = bars[0][3]
    for bar in bars[1:]:
        value = (value + bar[3]) / 2
    return value


def true_range(bars: Sequence[Bar]) -> float:
    before, (_, high, low, _, _) = bars[-2][3], bars[-1]
    return max(high, before) - min(low, before)


QUESTIONS: dict[str, Callable[[list[Bar]], float]] = {
    "What is the mean of the closes": lambda bars: sum(bar[3] for bar in bars) / len(bars),
    "What is the highest high": lambda bars: max(bar[1] for bar in bars),
    "What is the lowest low": lambda bars: min(bar[2] for bar in bars),
    "How far is the highest high": lambda bars: max(bar[1] for bar in bars) - min(bar[2] for bar in bars),
    "What is the total volume": lambda bars: sum(bar[4] for bar in bars),
    "How many bars closed above": lambda bars: sum(bar[3] > bar[0] for bar in bars),
    "What is the return": lambda bars: 100 * bars[-1][3] / bars[0][0] - 100,
    "By how much is the last close": lambda bars: bars[-1][3] - bars[0][3],
    "What is the true range": true_range,
    "What is the average of the closes": lambda bars: (
        sum(bar[3] * bar[4] for bar in bars) / sum(bar[4] for bar in bars)
    ),
    "What is the largest fall": drawdown,
    "What is the exponential moving average": halving,
    "What is the largest distance": lambda bars: max(abs(bar[0] - bar[3]) for bar in bars),
    "Bought 100": lambda bars: 100 * bars[-1][3] - 100 * bars[0][0],
}


@pytest.mark.parametrize("prompt", of("arithmetic"), ids=lambda prompt: prompt.id)
def test_the_answers_on_bars_are_computed_right(prompt: Prompt) -> None:
    bars, question = bars_of(prompt)
    for opened, high, low, close, volume in bars:
        assert low <= min(opened, close) <= max(opened, close) <= high and volume > 0
    (answer,) = [compute(bars) for start, compute in QUESTIONS.items() if question.startswith(start)]
    assert isinstance(prompt.expect, Number)
    assert prompt.expect.answer == pytest.approx(answer, abs=1e-3)
    assert score(prompt, f"{answer:.2f}").right
    assert not score(prompt, f"{answer + 1:.2f}").right


ORDER = re.compile(
    r"(BUY|SELL) (\S+) (\w+) (?:market|limit ([\d.]+)), last trade ([\d.]+), held (\d+), time (\d\d:\d\d)\."
)


@pytest.mark.parametrize("prompt", of("order_check"), ids=lambda prompt: prompt.id)
def test_each_order_breaks_the_rules_that_its_label_says(prompt: Prompt) -> None:
    assert isinstance(prompt.expect, Refusal)
    found = ORDER.fullmatch(prompt.user)
    if found is None:
        assert "CONDUCT" in prompt.expect.answer  # free text
        return
    side, quantity, limit, last, held = found[1], float(found[2]), found[4], float(found[5]), int(found[6])
    price = last if limit is None else float(limit)
    rules = {
        "SYMBOL": found[3] not in {"AAPL", "MSFT", "NVDA", "AMZN", "SPY", "QQQ"},
        "QUANTITY": quantity < 1 or not quantity.is_integer(),
        "PRICE": price <= 0 or abs(price / last - 1) > 0.1,
        "NOTIONAL": quantity * price > 100_000,
        "SHORT": side == "SELL" and quantity > held,
        "HOURS": not "09:30" <= found[7] <= "16:00",
    }
    assert {name for name, broken in rules.items() if broken} == set(prompt.expect.answer)
    assert len(prompt.expect.answer) <= 1


@pytest.mark.parametrize("prompt", of("extraction"), ids=lambda prompt: prompt.id)
def test_what_is_to_be_extracted_stands_in_the_text(prompt: Prompt) -> None:
    assert isinstance(prompt.expect, JsonValue)
    value = prompt.expect.value
    numbers = {float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", prompt.user)}
    assert {value[name] for name in ("quantity", "price") if value[name] is not None} <= numbers
    assert re.search(rf"\b{value['symbol']}\b", prompt.user)
    assert (value["price"] is None) == (value["order_type"] == "market")


@pytest.mark.parametrize("prompt", of("context"), ids=lambda prompt: prompt.id)
def test_the_answer_stands_in_the_digest_once_for_the_symbol_that_is_asked_for(prompt: Prompt) -> None:
    *lines, question = prompt.user.split("\n")
    symbol = question.removeprefix("What is the desk's stop for ").removesuffix("?")
    assert isinstance(prompt.expect, Number)
    told = [line for line in lines if line.startswith(f"{symbol}: ")]
    assert told == [f"{symbol}: The desk's stop for today is {prompt.expect.answer:.2f}."]
    assert len(lines) >= 16


def test_what_is_asked_for_stands_at_every_place_of_a_digest() -> None:
    places = []
    for prompt in of("context"):
        *lines, question = prompt.user.split("\n")
        symbol = question.split()[-1].removesuffix("?")
        places.append(next(place for place, line in enumerate(lines) if line.startswith(f"{symbol}: ")) / len(lines))
    assert min(places) == 0 and max(places) > 0.9 and sum(0.3 < place < 0.7 for place in places) >= 4


def test_the_workloads_image_holds_them() -> None:
    code = load_image("workload").code
    assert code is not None
    assert code_files(code)["/app/validation/llm_service/prompts.jsonl"] == SHIPPED


def test_a_subset_has_each_kind_as_often_and_is_the_same_each_time() -> None:
    chosen = stratified(PROMPTS, 4)
    assert set(Counter(prompt.kind for prompt in chosen).values()) == {4}
    assert chosen == stratified(PROMPTS, 4)
    assert len(stratified(PROMPTS, 1000)) == len(PROMPTS)


GOOD = {
    "id": "mine-1", "kind": "sentiment", "user": "Shares soar.", "max_tokens": 8,
    "expect": {"by": "exact", "labels": ["up", "down"], "answer": "up"},
}  # fmt: skip


def write(folder: Path, *bodies: object) -> Path:
    file = folder / "own.jsonl"
    file.write_text("\n".join(body if isinstance(body, str) else json.dumps(body) for body in bodies))
    return file


def test_a_users_file_comes_on_top_of_the_shipped_prompts(tmp_path: Path) -> None:
    assert [prompt.id for prompt in load(write(tmp_path, GOOD, ""))][len(PROMPTS) :] == ["mine-1"]


def expecting(**expect: object) -> dict[str, object]:
    return {**GOOD, "expect": expect}


@pytest.mark.parametrize(
    ("bodies", "told"),
    [
        (["{"], "line 1: it is not JSON"),
        ([GOOD, GOOD], "line 2: id 'mine-1' is taken"),
        ([{**GOOD, "id": "A b"}], "line 1: id: "),
        ([{**GOOD, "extra": 1}], "extra: Extra inputs are not permitted"),
        ([{**GOOD, "max_tokens": 0}], "max_tokens: "),
        (["[]"], "line 1: the line: "),
        ([""], "holds no prompts"),
        ([expecting(by="guess")], "expect: Input tag 'guess'"),
        ([expecting(by="exact", labels=["up", "down"], answer="left")], "answer 'left' is none of the labels"),
        ([expecting(by="exact", labels=["up", "Up"], answer="up")], "labels has one twice"),
        ([expecting(by="json", schema={"type": "string"}, value=3)], "value does not fit schema"),
        ([expecting(by="json", schema={"pattern": "a"}, value=3)], "schema has pattern, which nothing would check"),
        ([expecting(by="refusal", codes=["A"], answer=["B"])], "answer names B, which codes does not"),
        ([expecting(by="code", function="f", parameters=[], uses=["goto"])], "uses and avoids name goto"),
        ([expecting(by="number", answer=1, tolerance=-1)], "expect.number.tolerance: "),
    ],
)
def test_a_bad_line_is_refused_with_file_line_and_what_to_do(tmp_path: Path, bodies: list[object], told: str) -> None:
    file = write(tmp_path, *bodies)
    with pytest.raises(BadPrompts, match=re.escape(told)) as refused:
        read(file)
    assert str(file) in str(refused.value)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPrompts, match="cannot be read"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(BadPrompts, match="not UTF-8 at byte 0"):
        read(tmp_path / "latin")
