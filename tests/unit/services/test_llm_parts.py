"""The small parts of the orchestrator: requests, events, budgets, places and figures."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llm import Failure
from adapters.llm.events import LONGEST_EVENT, Events, is_broken_off
from services.llm_orchestrator.admission import Admission
from services.llm_orchestrator.budgets import RetryBudget, TokenBudget
from services.llm_orchestrator.errors import BadRequest, Overloaded
from services.llm_orchestrator.figures import WINDOW_SECONDS, Figures, percentile
from services.llm_orchestrator.lanes import LONGEST_REST_SECONDS, rest_of
from services.llm_orchestrator.requests import parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


# -- requests


@given(st.dictionaries(st.text(), JSON, max_size=6), st.text(), st.sampled_from([None, 2]), st.booleans())
def test_only_the_models_name_changes(fields: dict[str, Any], model: str, indent: int | None, ascii: bool) -> None:
    body = {**fields, "model": "default", "stream": True}
    raw = json.dumps(body, indent=indent, ensure_ascii=ascii).encode(errors="surrogatepass")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return
    asked = parse(raw)
    assert asked.model == "default"
    assert asked.content("default") == raw
    assert json.loads(asked.content(model)) == {**body, "model": model}


def test_bytes_that_mean_the_same_are_not_exchanged() -> None:
    raw = b' {"a":1.10e+2,"model" : "default","b":"\\u0041","n":123456789012345678901234567890,"a":[ ]}\n'
    assert parse(raw).content("m") == raw.replace(b'"default"', b'"m"')


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"1", b'{"model" "a"}', b'{"model":"a",}', b'{"a":1}x', b'{1:2}', b'{"a":}', b'{"a":1 "b":2}',
     b"\xff{}", b'{"a":tru}', b'{"stream":1,"model":"a"}', b'{"m":' + b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(raw)


def asked(**fields: object) -> Any:
    return parse(json.dumps({"model": "default", **fields}).encode())


def test_a_conversation_is_known_by_its_header_its_user_or_its_beginning() -> None:
    system, first = {"role": "system", "content": "s"}, {"role": "user", "content": "one"}
    later = [system, first, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]
    begun = asked(messages=[system, first])
    assert begun.conversation(None) == asked(messages=later).conversation(None)
    assert begun.conversation(None) != asked(messages=[system, {**first, "content": "else"}]).conversation(None)
    assert asked(user="u", messages=[first]).conversation(None) == asked(user="u", messages=later).conversation(None)
    assert asked(user="u", messages=[first]).conversation("c") == asked(messages=later).conversation("c")
    assert len({asked(user="x").conversation(None), asked().conversation("x"), asked().conversation(None)}) == 3


def test_what_a_call_may_cost_is_guessed_from_its_length_and_its_limit() -> None:
    assert asked(max_tokens=7, messages=["x" * 400]).tokens > 107
    assert asked(max_completion_tokens=9).tokens < asked().tokens


# -- events


@given(st.lists(st.sampled_from(["data: {}", ": ping", "id: 1\ndata: x"])), st.booleans(), st.data())
def test_events_pass_whole_however_they_are_cut(lines: list[str], done: bool, data: st.DataObject) -> None:
    lines = [*lines, *(["data: [DONE]"] if done else [])]
    ending = data.draw(st.sampled_from(["\n\n", "\r\n\r\n"]))
    text = "".join(line + ending for line in lines).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)) | {0, len(text)})
    events, passed = Events(), []
    for begin, end in itertools.pairwise(cuts):
        passed.append(events.take(text[begin:end]))
        assert events.wrong is None
        assert not passed[-1] or passed[-1].endswith(ending.encode())
    assert b"".join(passed) == text
    assert events.whole == done


@pytest.mark.parametrize(
    ("chunks", "wrong"),
    [
        ([b"<html>"], Failure.GARBAGE),
        ([b"data: {}\n\n", b"\x00\x01\x02\x03\x04\x05\x06"], Failure.GARBAGE),
        ([b"data: {}\n\n", b'data: {"error": {"message": "out of memory"}}\n\n'], Failure.ERROR_EVENT),
        ([b"data: {}\n\n\x00\x01\x02\x03\x04\x05\x06"], Failure.GARBAGE),
        ([b'data: {}\n\ndata: {"error": {}}\n\n'], Failure.ERROR_EVENT),
        ([b'data: {}\n\ndata: {"error": '], Failure.ERROR_EVENT),
        ([b"data: {}\n\n", b'data: {"choices":[{"finish_reason":"abort"}]}\n\ndata: [DONE]\n\n'], Failure.CLOSED_EARLY),
        ([b'data: {}\n\ndata: {"choices": [{"finish_reason": "abort"}]}\n\ndata: [DONE]\n\n'], Failure.CLOSED_EARLY),
        ([b'data: {}\n\ndata: {"finish_reason":"ab', b'ort"}\n\n'], Failure.CLOSED_EARLY),
        ([b"da", b"ta: {}\n\n"], None),
    ],
)
def test_what_is_no_event_is_seen_and_what_came_before_it_passes(chunks: list[bytes], wrong: Failure | None) -> None:
    events = Events()
    passed = b"".join(map(events.take, chunks))
    assert events.wrong is wrong
    assert passed == (b"" if chunks == [b"<html>"] else b"data: {}\n\n")


def test_an_answer_may_speak_of_what_is_broken_off() -> None:
    said = json.dumps({"choices": [{"delta": {"content": '"finish_reason":"abort"'}, "finish_reason": None}]}).encode()
    events = Events()
    assert events.take(b"data: " + said + b"\n\n") == b"data: " + said + b"\n\n"
    assert events.wrong is None and not is_broken_off(said)
    assert is_broken_off(b'{"choices":[{"finish_reason":"abort"}]}')


def test_half_an_event_is_kept_back_unless_it_is_too_long() -> None:
    events = Events()
    assert events.take(b'data: {"a":1}\n\ndata: {"b') == b'data: {"a":1}\n\n'
    assert not events.whole
    long = b"x" * LONGEST_EVENT
    assert events.take(long) == b'data: {"b' + long
    assert events.take(b"y\n\ndata: [DONE]") == b"y\n\n"
    assert (events.whole, events.rest()) == (True, b"data: [DONE]")


# -- budgets


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=300))
def test_retries_stay_within_what_calls_earned(steps: list[tuple[bool, float]]) -> None:
    budget, now, calls, taken = RetryBudget(5, 0.2, 0.5), 0.0, 0, 0
    for retry, seconds in steps:
        now += seconds
        if retry:
            taken += budget.take()
        else:
            budget.call(now)
            calls += 1
        assert taken <= 5 + 0.2 * calls + 0.5 * now + 1e-6


@given(st.lists(st.tuples(st.floats(0, 80), st.floats(0, 30)), max_size=200))
def test_no_more_is_spent_than_the_minutes_had(steps: list[tuple[float, float]]) -> None:
    budget, now, spent = TokenBudget(100), 0.0, 0.0
    for tokens, seconds in steps:
        now += seconds
        spent += tokens if budget.take(tokens, now) else 0
        assert spent <= 100 + 100 * now / 60 + 1e-6


def test_what_was_spent_beyond_the_guess_is_not_there_for_the_next() -> None:
    budget = TokenBudget(100)
    assert budget.take(50, 0.0)
    budget.settle(50, 150)
    assert not budget.take(1, 0.0)
    assert not budget.take(1, 30.0)
    assert budget.take(1, 31.0)
    assert not TokenBudget(0).take(1, 1e6)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("0.5", 0.5), ("-3", 0), ("9999", LONGEST_REST_SECONDS), (None, 1), ("soon", 1), ("nan", 1),
     ("Wed, 21 Oct 2026 07:28:00 GMT", 1)],
)  # fmt: skip
def test_how_long_a_limit_is_believed(text: str | None, seconds: float) -> None:
    assert rest_of(text) == seconds


# -- places


def test_who_finds_no_place_waits_in_line_and_the_line_has_an_end() -> None:
    async def work() -> list[str]:
        admission, order = Admission(1, 2, 10, 0), []
        await admission.enter()

        async def caller(name: str) -> None:
            try:
                await admission.enter()
            except Overloaded:
                order.append(f"{name} turned away")
                return
            order.append(name)
            admission.leave()

        tasks = [asyncio.create_task(caller(name)) for name in "abc"]
        await asyncio.sleep(0)
        admission.leave()
        await asyncio.gather(*tasks)
        await admission.enter()
        return order

    assert asyncio.run(work()) == ["c turned away", "a", "b"]


def test_who_waits_too_long_or_hangs_up_leaves_no_gap() -> None:
    async def work() -> None:
        admission = Admission(1, 5, 0.01, 0)
        await admission.enter()
        with pytest.raises(Overloaded, match="none ended within"):
            await admission.enter()
        waiting = [asyncio.create_task(admission.enter()) for _ in range(2)]
        await asyncio.sleep(0)
        admission.leave()
        # The place was given to the first, which hangs up before it learns of it.
        waiting[0].cancel()
        assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [
            asyncio.CancelledError,
            type(None),
        ]
        admission.leave()
        await admission.enter()

    asyncio.run(work())


def test_bodies_have_so_much_memory_and_no_more() -> None:
    admission = Admission(1, 1, 1, held=10)
    admission.hold(8)
    with pytest.raises(Overloaded):
        admission.hold(3)
    admission.let_go(8)
    admission.hold(10)


# -- figures


def test_figures_are_of_this_epoch_and_of_the_last_minute() -> None:
    now = 1000.0
    figures = Figures(lambda: now)
    figures.begin(4)
    figures.count(3, "vllm", "errors")
    for _ in range(3):
        figures.count(4, "vllm", "calls")
    for ms in range(1, 101):
        figures.first_byte(4, "vllm", ms / 1000)
    figures.in_flight("hosted", 2)
    told = figures.status()
    assert (told["epoch"], told["vllm.calls"], told["vllm.errors"], told["hosted.in_flight"]) == ("4", "3", "0", "2")
    assert (told["vllm.ttft_p50_ms"], told["vllm.ttft_p95_ms"]) == ("50.0", "95.0")
    assert "hosted.ttft_p50_ms" not in told
    now += WINDOW_SECONDS + 1
    assert figures.status()["vllm.calls"] == "0"
    assert "vllm.ttft_p50_ms" not in figures.status()
    figures.count(4, "vllm", "calls")
    figures.begin(5)
    assert (figures.status()["vllm.calls"], figures.status()["hosted.in_flight"]) == ("0", "2")


def test_a_call_that_waits_counts_with_what_it_has_waited_once_that_is_long() -> None:
    now = 1000.0
    figures = Figures(lambda: now)
    figures.begin(4)
    waiting = [figures.waits(4, "vllm") for _ in range(3)]
    figures.waits(3, "vllm")  # of an epoch that is over
    figures.waits(4, "hosted")
    now += 2
    assert figures.status()["vllm.ttft_p50_ms"] == "2000.0"
    for call in waiting:
        figures.heard(call)
    assert "vllm.ttft_p50_ms" not in figures.status()
    for _ in range(5):
        figures.first_byte(4, "vllm", 3.0)
    figures.waits(4, "vllm")
    now += 1  # no longer than others took: it says nothing yet
    assert figures.status()["vllm.ttft_p95_ms"] == "3000.0"
    now += 6
    assert (figures.status()["vllm.ttft_p50_ms"], figures.status()["vllm.ttft_p95_ms"]) == ("3000.0", "7000.0")


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(1, 100))
def test_a_percentile_is_one_of_the_values_and_that_many_are_below(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(one <= found for one in values) >= len(values) * percent / 100 - 1e-9
