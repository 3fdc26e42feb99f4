"""Streams are read in whatever pieces they come; both sides are asked, and a failure is an answer of its own kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, override

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llm import ChatStream, LLMError, LLMRefused, LLMUnavailable
from adapters.llm.memory import MemoryChat
from validation.llm_service.asking import Answers, Manner, Price, Side, ask_both
from validation.llm_service.measuring import figures, quantile
from validation.llm_service.prompts import load
from validation.llm_service.streams import BadStream, Reader, Reply

PROMPTS = load()[:12]
FAST = Manner(concurrency=4, tries=2, timeout=5)


def event(**body: Any) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\r\n\r\n"


def part(text: str, logprob: float | None = None, finish: str | None = None) -> bytes:
    said = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    if logprob is not None:
        said["logprobs"] = {"content": [{"token": text, "logprob": logprob}]}
    return event(choices=[said])


WHOLE = (
    b": a comment\n\n"
    + event(choices=[{"index": 0, "delta": {"role": "assistant", "content": None}}])
    + part("Über", -0.5)
    + part(" 3 €", -1.5, "stop")
    + event(choices=[], usage={"completion_tokens": 7, "prompt_tokens": 20})
    + b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_a_stream_is_read_in_whatever_pieces_it_comes(cuts: list[int]) -> None:
    reader, places = Reader(began=1.0), [0, *sorted(cuts), len(WHOLE)]
    for number, place in enumerate(places[:-1]):
        reader.feed(WHOLE[place : places[number + 1]], now=2.0 + number)
    reply = reader.reply(now=20.0)
    assert (reply.text, reply.finish, reply.answered) == ("Über 3 €", "stop", True)
    assert (reply.tokens, reply.prompt_tokens, reply.logprob, reply.seconds) == (7, 20, -1.0, 19.0)
    assert reply.first is not None and reply.first >= 1.0 and len(reply.gaps) == 1


def test_without_usage_the_parts_are_counted() -> None:
    reader = Reader(began=0.0)
    for place, piece in enumerate((part("a"), part("b"), part("c", finish="length"))):
        reader.feed(piece, now=1.0 + place * 0.5)
    assert reader.reply(now=3.0) == Reply("abc", "", "length", 1.0, (0.5, 0.5), 3.0, 3)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"data: {nonsense\n", "not JSON"),
        (b'data: "\xff"\n', "not UTF-8"),
        (b"data: []\n", "an error in mid-stream"),
        (event(error={"message": "out of memory"}), "out of memory"),
        (event(choices=["x"]), "a choice that is none"),
        (event(choices=[{"logprobs": {"content": [{}]}}]), "a choice that is none"),
    ],
)
def test_bytes_that_are_no_answer_are_told(data: bytes, told: str) -> None:
    with pytest.raises(BadStream, match=told):
        Reader(0.0).feed(data, 1.0)


def test_a_stream_that_breaks_off_quietly_is_no_answer() -> None:
    reader = Reader(0.0)
    reader.feed(part("half an"), 1.0)
    assert reader.reply(2.0).error == "the stream ended before the answer did"


class Chat(MemoryChat):
    """Raises what is left of `faults`, then answers; counts how many calls were in flight at once."""

    def __init__(self, faults: tuple[LLMError, ...] = (), refuses: str = "") -> None:
        super().__init__(reply="positive", models=("m",))
        self.faults = list(faults)
        self.refuses = refuses
        self.in_flight = self.most = 0
        self.is_closed = False

    @override
    async def stream(self, body: Mapping[str, Any]) -> ChatStream:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(0)  # lets the other calls begin
        self.in_flight -= 1
        if self.refuses in body:
            raise LLMRefused("chat", 400, f"`{self.refuses}` is not supported".encode(), "application/json")
        if self.faults:
            raise self.faults.pop(0)
        return await super().stream(body)

    @override
    async def close(self) -> None:
        self.is_closed = True


class Stalling(Chat):
    @override
    async def stream(self, body: Mapping[str, Any]) -> ChatStream:
        return _Stalled()


class _Stalled(ChatStream):
    content_type = "text/event-stream"

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield part("one word")
        await asyncio.Event().wait()

    @override
    async def close(self) -> None:
        """Nothing to give up."""


def side(chat: MemoryChat, **more: Any) -> Side:
    return Side("side", "m", lambda: chat, **more)


def asked(old: MemoryChat, new: MemoryChat, manner: Manner = FAST, **more: Any) -> tuple[list[Reply], list[Reply]]:
    first, second = asyncio.run(ask_both(side(old), side(new, **more), PROMPTS, manner))
    return list(first.replies), list(second.replies)


def test_both_sides_are_asked_everything_alike_and_no_more_at_once_than_allowed() -> None:
    old, new = Chat(), Chat()
    first, second = asked(old, new, extra={"reasoning_effort": "low"})
    assert [reply.text for reply in first + second] == ["positive"] * 2 * len(PROMPTS)
    assert old.most == new.most == FAST.concurrency
    assert old.is_closed and new.is_closed
    bodies = [{**body, "reasoning_effort": "low"} for body in old.requests]
    assert sorted(json.dumps(body, sort_keys=True) for body in bodies) == sorted(
        json.dumps(body, sort_keys=True) for body in new.requests
    )
    assert all(body["temperature"] == 0 and body["seed"] == 7 and body["stream"] for body in new.requests)


def test_what_may_pass_is_tried_again_and_what_may_not_is_not() -> None:
    busy = LLMRefused("chat", 429, b"slow down", "text/plain", retry_after="0")
    wrong = LLMRefused("chat", 401, b"no such key", "text/plain")
    first, second = asked(Chat((busy,)), Chat((wrong,)))
    assert all(reply.answered for reply in first)
    assert [reply.error for reply in second if not reply.answered] == [str(wrong)]


@pytest.mark.parametrize("name", ["logprobs", "seed", "stream_options"])
def test_a_field_that_a_side_does_not_know_is_left_out_from_then_on(name: str) -> None:
    chat = Chat(refuses=name)
    first, _ = asked(chat, Chat())
    assert all(reply.answered for reply in first)
    assert len(chat.requests) == len(PROMPTS) and all(name not in body for body in chat.requests)


def test_a_side_that_is_down_is_given_up_and_the_other_is_not() -> None:
    down = Chat()
    down.fault = LLMUnavailable("nobody is there")
    first, second = asked(Chat(), down, Manner(concurrency=2, tries=1))
    assert all(reply.answered for reply in first)
    assert {reply.error.partition(":")[0] for reply in second} == {"nobody is there", "not asked"}
    assert len(down.requests) < len(PROMPTS)


def test_an_answer_that_stalls_is_left_in_time_and_one_that_breaks_is_told() -> None:
    broken = Chat()
    broken.reply, broken.break_after = "one two three", 1
    first, second = asked(Stalling(), broken, Manner(concurrency=12, tries=1, timeout=0.1))
    assert {(reply.error, reply.text) for reply in first} == {("no whole answer within 0.1 s", "one word")}
    assert {reply.error for reply in second} == {"memory broke the connection, as asked for"}


def test_figures_are_of_what_was_answered() -> None:
    replies = (
        Reply("a", "", "stop", 0.1, (0.01, 0.03), 0.2, 100, 50, -0.5),
        Reply("b", "", "stop", 0.3, (), 0.4, 300, 150, -1.5),
        Reply(error="gone"),
    )
    found = figures(Answers(replies, 2.0), Price(input_per_million=1.0, output_per_million=2.0))
    assert (found["answered"], found["unanswered"], found["tokens"], found["tokens_per_second"]) == (2, 1, 400, 200)
    assert (found["ttft_ms_p50"], found["ttft_ms_p99"], found["gap_ms_p50"]) == (100, 300, 10)
    assert found["logprob"] == -1.0
    assert found["cost_per_1000_tokens"] == pytest.approx((200 * 1 + 400 * 2) / 1e6 / 400 * 1000)
    by_hour = figures(Answers(replies, 2.0), Price(per_hour=3.6))
    assert by_hour["cost_per_1000_tokens"] == pytest.approx(2 / 1000 / 400 * 1000)
    assert "ttft_ms_p50" not in figures(Answers((Reply(error="gone"),), 1.0), None)


def test_quantiles_are_values_that_were_there() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert quantile([3.0], 0.5) == 3.0
