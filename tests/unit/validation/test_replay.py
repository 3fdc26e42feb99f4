"""Recorded traffic: what is kept of a request, what two answers may differ in, and what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.replay import REQUESTS
from validation.api.comparing import CannotCompare, differences
from validation.api.exchange import Answer, Exchange, Request, TrafficError, read, write
from validation.api.replaying import NotAnswered, ask_all, at_addresses, compared, recorded
from validation.api.rules import RULES, Rule, matches, rule_of
from validation.result import Verdict

RULE = Rule(
    service="s", method="GET", path="/x", volatile=["at", "items.*.id"], optional=["extra.**"], form=["free.**"],
    moving=["now.**"], tolerance={"sums.**": 1e-6}, alike=[200, 202],
)  # fmt: skip


def answer(content: Any, status: int = 200, media_type: str = "application/json") -> Answer:
    return Answer(status=status, media_type=media_type, content=content)


def found(old: Any, new: Any, *, settled: bool = False) -> list[str]:
    return [one.words() for one in differences(answer(old), answer(new), RULE, settled=settled)]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"a": 1, "b": [1, {"c": None}]}, {"b": [1, {"c": None}], "a": 1.0}, []),
        ({"a": 1}, {"a": 2}, ["a: 1 -> 2"]),
        ({"a": 1}, {"a": "1"}, ['a: number 1 -> text "1"']),
        ({"a": True}, {"a": 1}, ["a: boolean true -> number 1"]),
        ({"a": None}, {"a": 0}, ["a: null null -> number 0"]),
        ({"a": 1}, {}, ["a: 1 -> missing"]),
        ({}, {"a": 1}, ["a: missing -> 1"]),
        ([1, 2], [1], ["content: 2 items -> 1 items"]),
        ({"b": [{"c": 1}]}, {"b": [{"c": 2}]}, ["b.0.c: 1 -> 2"]),
        ({"at": 1}, {"at": 2}, []),
        ({"at": 1}, {}, ["at: 1 -> missing"]),  # another value is allowed, none is not
        ({"items": [{"id": 1, "v": 1}]}, {"items": [{"id": 2, "v": 1}]}, []),
        ({"extra": {"a": 1}}, {}, []),
        ({"sums": [1.0]}, {"sums": [1.0000005]}, []),
        ({"sums": [1.0]}, {"sums": [1.00001]}, ["sums.0: 1.0 -> 1.00001"]),
        ({"free": {"t": "a", "n": 1}}, {"free": {"t": "b", "n": 2, "more": 0}}, []),
        ({"free": {"t": "a"}}, {"free": {"t": 1}}, ['free.t: text "a" -> number 1']),
        ({"free": {"t": "a"}}, {"free": {"t": None}}, []),
        ({"free": {"t": "a"}}, {"free": {}}, ['free.t: "a" -> missing']),
        ({"free": [{"a": 1}, {"b": 1}]}, {"free": [{"b": 7}]}, []),
        ({"free": [{"a": 1}]}, {"free": [{"b": 7}]}, ["free.0.a: 1 -> missing"]),
    ],
)
def test_what_differs(old: Any, new: Any, words: list[str]) -> None:
    assert found(old, new) == words


def test_what_moves_is_compared_by_form_until_nothing_new_comes() -> None:
    assert found({"now": {"price": 1}}, {"now": {"price": 2}}) == []
    assert found({"now": {"price": 1}}, {"now": {"price": 2}}, settled=True) == ["now.price: 1 -> 2"]


def test_statuses_and_media_types_and_refusals() -> None:
    body: dict[str, Any] = {"at": 1}
    assert not differences(answer(body), answer(body, 202), RULE)
    (status,) = differences(answer(body), answer({"error": "no"}, 503), RULE)
    assert (status.field, status.recorded, status.now) == ("status", "200", '503 {"error": "no"}')
    (kind,) = differences(answer(body), answer(body, media_type="text/html"), RULE)
    assert kind.field == "media type"
    # Of a refusal each word counts.
    (word,) = differences(answer(body, 422), answer({"at": 2}, 422), RULE)
    assert word.field == "at"


def test_what_cannot_be_compared_is_not_the_same() -> None:
    binary = Answer.read(200, "application/vnd.apache.parquet", b"PAR1\xff")
    with pytest.raises(CannotCompare, match="binary"):
        differences(binary, binary, RULE)
    with pytest.raises(CannotCompare, match="empty"):
        found({"free": []}, {"free": [1]})


def test_an_answer_of_a_model_is_compared_by_its_form() -> None:
    rule = rule_of(RULES, "llm-orchestrator", "POST", "/v1/chat/completions")
    yes = {"message": {"role": "assistant", "content": "Yes"}, "finish_reason": "stop"}
    no = {"message": {"role": "assistant", "content": "No.", "refusal": None}, "finish_reason": None}
    hosted = {"id": "1", "model": "a", "usage": {"total_time": 1, "total_tokens": 3}, "x_groq": {}, "choices": [yes]}
    ours: dict[str, Any] = {"id": "2", "model": "b", "usage": {"total_tokens": 9}, "choices": [no]}
    assert not differences(answer(hosted), answer(ours), rule)
    assert not differences(answer(ours), answer(hosted), rule)
    torn: dict[str, Any] = {**ours, "choices": [{"message": {"role": "assistant"}}]}
    (lost,) = differences(answer(hosted), answer(torn), rule)
    assert lost.field == "choices.0.message.content"


def test_a_stream_is_its_events() -> None:
    read_back = Answer.read(200, "text/event-stream; charset=utf-8", b'data: {"a": 1}\n\ndata: [DONE]\n\n')
    assert (read_back.media_type, read_back.content) == ("text/event-stream", [{"a": 1}, "[DONE]"])


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [("a.*.b", "a.0.b", True), ("a.*", "a.0.b", False), ("a.**", "a", True), ("a.**", "a.b.c", True),
     ("a.**", "ab", False), ("**", "", True), ("a", "", False), ("*", "a", True)],
)  # fmt: skip
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits


def test_an_endpoint_without_a_rule_may_differ_in_nothing() -> None:
    rule = rule_of(RULES, "trading-engine", "GET", "/version?x=1")
    assert not (rule.volatile or rule.form or rule.moving or rule.tolerance or rule.alike)
    assert rule_of(RULES, "backtesting-service", "GET", "/backtests/abc/result").tolerance
    assert not rule_of(RULES, "backtesting-service", "GET", "/backtests/abc").tolerance


def exchange(path: str, answered: Any = None, **more: Any) -> Exchange:
    return Exchange(
        service="s", request=Request(path=path), answer=None if answered is None else answer(answered), **more
    )


def test_a_file_keeps_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "traffic.jsonl"
    headers = {"Authorization": "Bearer hush", "Cookie": "hush", "X-Api-Key": "hush", "Accept": "text/html"}
    one = Exchange(service="s", request=Request(path="/x", headers=headers), answer=answer({"a": 1}))
    write(file, [one])
    assert "hush" not in file.read_text()
    (kept,) = read(file)
    assert (kept.request.headers, kept.answer) == ({"accept": "text/html"}, one.answer)


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "holds no exchange"), ("{", "line 1"), ('{"service": "s"}', "request: Field required"),
     ('{"service": "s", "request": {"path": "x"}}', "request.path"), ('{"service": "s", "typo": 1}', "line 1")],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "traffic.jsonl"
    file.write_text(text)
    with pytest.raises(TrafficError, match=why):
        read(file)
    with pytest.raises(TrafficError, match="cannot be read"):
        read(tmp_path / "none")


class Played:
    """A service that answers by path, each answer once, the last one for ever."""

    def __init__(self, **answers: Sequence[Answer | NotAnswered]) -> None:
        self.left = {f"/{path}": list(given) for path, given in answers.items()}
        self.asked: list[str] = []

    def __call__(self, service: str, request: Request) -> Answer:
        self.asked.append(request.path)
        given = self.left[request.path]
        one = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(one, NotAnswered):
            raise one
        return one


def test_what_is_done_aside_is_asked_until_it_is_done_by_the_name_that_it_was_given() -> None:
    states = [answer({"state": state}) for state in ("queued", "running", "done")]
    played = Played(runs=[answer({"id": "7/8"})], **{"runs/7%2F8": states})
    asked = list(ask_all(
        [exchange("/runs", keeps={"run": "id"}), exchange("/runs/{run}", until={"state": ["done"]})],
        played, pause=lambda seconds: None,
    ))  # fmt: skip
    assert [one.answer and one.answer.content for one in asked] == [{"id": "7/8"}, {"state": "done"}]
    assert played.asked == ["/runs", *["/runs/7%2F8"] * 3]


def test_what_has_no_answer_could_not_be_compared_and_keeps_no_other_from_it() -> None:
    clock = iter(range(0, 1000, 50))
    played = Played(
        gone=[NotAnswered("nobody is there")], runs=[answer({})], slow=[answer({"state": "queued"})],
        same=[answer(1)], other=[answer(2)],
    )  # fmt: skip
    asked = list(ask_all(
        [exchange("/gone", 1), exchange("/runs", {}, keeps={"run": "id"}), exchange("/runs/{run}", 1),
         exchange("/slow", 1, until={"state": ["done"]}), exchange("/same", 1), exchange("/other", 1),
         exchange("/same")],
        played, pause=lambda seconds: None, now=lambda: float(next(clock)),
    ))  # fmt: skip
    report = compared(asked, [])
    assert [check.outcome.value for check in report.checks] == [
        "could_not_check", "holds", "could_not_check", "could_not_check", "holds", "does_not_hold", "could_not_check"
    ]  # fmt: skip
    assert report.overall() is Verdict.DOES_NOT_HOLD
    assert report.figures == {"same": 2, "different": 1, "not_compared": 4}
    details = [check.detail for check in report.checks]
    assert "nobody is there" in details[0] and "{run}" in details[2] and "within 120 s" in details[3]
    with pytest.raises(NotAnswered, match="nobody is there"):
        recorded(asked)


def test_a_service_without_an_address_is_not_asked() -> None:
    (one,) = ask_all([exchange("/x")], at_addresses({}))
    assert one.why == "no address of s is given"


def test_the_requests_that_come_with_it_ask_every_service() -> None:
    exchanges = read(REQUESTS)
    assert {one.service for one in exchanges} == {
        "trading-engine", "llm-orchestrator", "backtesting-service", "market-feed"
    }  # fmt: skip
    assert all(one.answer is None for one in exchanges)
