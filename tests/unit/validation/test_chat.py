"""What is said of a run of calls to a language model: everything that a switch could do to an answer is seen."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.chat.account import UNKNOWN, Account, Book, Call, Fate, read
from validation.chat.calling import BadAddress, Caller
from validation.chat.hearing import Heard, whole
from validation.chat.judging import Limits, judge, judge_window
from validation.chat.load import Schedule, asked
from validation.ledger import Window
from validation.result import Report, Verdict

MS = 1_000_000
SECOND = 1000 * MS
LIMITS = Limits(min_rate=1)
CONVERSATIONS = 10


def event(delta: dict[str, Any] | None = None, *, finish: str | None = None, name: str = "answer-1") -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return b"data: " + json.dumps({"id": name, "model": "small", "choices": [choice]}).encode() + b"\n\n"


FIRST, WORD, END = event({"role": "assistant", "content": ""}), event({"content": "up"}), event(finish="stop")
USAGE = b'data: {"id": "answer-1", "model": "small", "choices": [], "usage": {}}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"message": "the backend broke the connection", "type": "api_error"}}\n\n'


def heard(*parts: bytes) -> Heard:
    made = Heard()
    for number, part in enumerate(parts, start=1):
        made.take(part, number * 10)
    return made


@pytest.mark.parametrize(
    ("parts", "fate"),
    [
        ([FIRST, WORD, END, DONE], Fate.WHOLE),
        ([FIRST, WORD, END, USAGE, DONE], Fate.WHOLE),
        ([b": a comment\n\n", FIRST, b"event: x\nid: 3\n" + WORD, END, DONE], Fate.WHOLE),
        ([FIRST, WORD, DONE], Fate.CUT),
        ([FIRST, WORD, END], Fate.CUT),
        ([FIRST, WORD], Fate.CUT),
        ([], Fate.CUT),
        ([FIRST, WORD, END, DONE.strip()], Fate.CUT),
        ([FIRST, b"data: {]\n\n", END, DONE], Fate.CUT),
        ([FIRST, b"data: 7\n\n", END, DONE], Fate.CUT),
        ([FIRST, WORD, ERROR], Fate.BROKEN),
        ([FIRST, WORD, ERROR, DONE], Fate.BROKEN),
        ([FIRST, WORD, FIRST, WORD, END, DONE, DONE], Fate.DOUBLED),
        ([FIRST, WORD, END, WORD, END, DONE], Fate.DOUBLED),
        ([FIRST, WORD, END, DONE, WORD], Fate.DOUBLED),
        ([FIRST, WORD, event({"content": "again"}, name="answer-2"), END, DONE], Fate.DOUBLED),
    ],
)
def test_a_stream_is_whole_only_with_one_answer_and_its_end(parts: list[bytes], fate: Fate) -> None:
    assert heard(*parts).finding().fate is fate


@given(st.lists(st.integers(1, 400), max_size=12))
def test_how_a_stream_is_cut_into_pieces_is_no_matter(places: Iterable[int]) -> None:
    text = FIRST + WORD + WORD + END + DONE
    bounds = sorted({0, len(text), *(place for place in places if place < len(text))})
    made = heard(*(text[start:end] for start, end in itertools.pairwise(bounds)))
    assert (made.finding().fate, made.chunks, made.model, made.answer) == (Fate.WHOLE, 4, "small", "answer-1")


def test_the_first_part_is_the_first_with_content_and_the_gap_the_longest() -> None:
    made = Heard()
    for part, at in ((FIRST, 10), (WORD, 40), (END, 140), (DONE, 990)):
        made.take(part, at)
    assert (made.first, made.gap, made.chunks) == (40, 100, 3)


def test_an_answer_in_one_piece_has_its_end_too() -> None:
    choice = {"message": {"role": "assistant", "content": "up"}, "finish_reason": "length"}
    body = {"id": "a", "model": "small", "choices": [choice]}
    assert whole(json.dumps(body).encode()).finding.fate is Fate.WHOLE
    endless = body | {"choices": [choice | {"finish_reason": None}]}
    assert whole(json.dumps(endless).encode()).finding.fate is Fate.CUT
    for other in (b"", b"<html>", b"[]", b"{}", b'{"choices": []}'):
        assert whole(other).finding.fate is Fate.CUT


def calls(count: int = 100) -> list[Call]:
    """Ten conversations, ten calls a second; `hosted` answers the first half, `vllm` the rest."""
    return [
        Call(
            f"call-{n}", f"conversation-{n % CONVERSATIONS}", n % 4 != 3, n * 100 * MS, n * 100 * MS + 1,
            n * 100 * MS + 20 * MS, n * 100 * MS + 90 * MS, 5, 15 * MS, Fate.WHOLE, "",
            "hosted" if n < count // 2 else "vllm", "small", f"answer-{n}",
        )
        for n in range(count)
    ]  # fmt: skip


def judged(made: list[Call], *, switches: int | None = 1, limits: Limits = LIMITS, closed: bool = True) -> Report:
    return judge(Account(tuple(made), closed), limits, switches)


def failing(report: Report) -> set[str]:
    return {check.name for check in report.failures()}


def test_a_run_whose_answers_all_came_whole_holds() -> None:
    report = judged(calls(), limits=Limits(min_rate=9, max_ttft_ms=21, max_gap_ms=16))
    assert report.overall() is Verdict.HOLDS, report.failures()
    figures = report.figures
    assert (figures["acknowledged"], figures["streams"], figures["caller_errors"]) == (100, 75, 0)
    assert (figures["acknowledged_hosted"], figures["acknowledged_vllm"], figures["moved"]) == (50, 50, 10)
    assert figures["ttft_ms_p50"] == figures["ttft_ms_p95_vllm"] == pytest.approx(20)
    assert figures["gap_ms_max"] == figures["gap_ms_max_hosted"] == pytest.approx(15)


@pytest.mark.parametrize(
    ("fate", "check", "figure"),
    [
        (Fate.CUT, "nothing lost", "lost"),
        (Fate.UNENDED, "nothing lost", "lost"),
        (Fate.BROKEN, "nothing broken", "broken"),
        (Fate.TORN, "nothing broken", "torn"),
        (Fate.DOUBLED, "nothing doubled", "doubled"),
        (Fate.REFUSED, "no call refused", "refused"),
    ],
)
def test_each_thing_that_a_switch_could_do_to_an_answer_is_seen(fate: Fate, check: str, figure: str) -> None:
    made = calls()
    made[40] = replace(made[40], fate=fate, error="so it was")
    report = judged(made)
    assert failing(report) == {check}
    assert report.figures[figure] == 1
    assert "call-40" in report.failures()[0].detail and "so it was" in report.failures()[0].detail
    assert report.figures["caller_errors"] == (fate in (Fate.BROKEN, Fate.TORN, Fate.REFUSED))


def test_an_answer_that_two_calls_were_given_is_doubled() -> None:
    made = calls()
    made[7] = replace(made[7], answer=made[6].answer)
    report = judged(made)
    assert failing(report) == {"nothing doubled"}
    assert report.figures["doubled"] == 2


def test_a_conversation_changes_sides_once_a_switch_and_no_more() -> None:
    made = calls()
    there_and_back = [*made[:90], *(replace(call, backend="hosted") for call in made[90:])]
    assert failing(judged(there_and_back)) == {"conversations stay"}
    assert failing(judged(there_and_back, switches=2)) == set()
    wanders = [replace(call, backend="vllm") if call.id == "call-10" else call for call in made]
    report = judged(wanders)
    assert failing(report) == {"conversations stay"}
    assert report.failures()[0].detail == "conversation-0"
    assert "conversations stay" not in {check.name for check in judged(wanders, switches=None).checks}


def test_who_answers_is_not_guessed_where_nobody_said_so() -> None:
    made = calls()
    made[3] = replace(made[3], backend=UNKNOWN)
    report = judged(made)
    assert [(check.name, check.outcome) for check in report.failures()] == [
        ("conversations stay", Verdict.COULD_NOT_CHECK)
    ]
    assert report.figures["acknowledged_unknown"] == 1


def test_a_run_that_proves_nothing_does_not_hold() -> None:
    assert judged([]).overall() is not Verdict.HOLDS
    assert failing(judged(calls(), limits=Limits(min_rate=20))) == {"load"}
    assert failing(judged(calls(), closed=False)) == {"the load ended"}
    pieces = [replace(call, streamed=False) for call in calls()]
    assert failing(judged(pieces)) == {"nothing broken"}  # of streams nothing was seen
    assert failing(judged(pieces, limits=Limits(min_rate=1, max_gap_ms=5))) == {"nothing broken", "gap in a stream"}
    assert failing(judged(calls(CONVERSATIONS))) == {"conversations stay"}  # each asked once


def test_slow_is_told_from_the_moment_at_which_an_answer_was_due() -> None:
    made = [replace(call, due=call.due - 300 * MS) for call in calls()]
    limits = Limits(min_rate=1, max_ttft_ms=300, max_gap_ms=10)
    assert failing(judged(made, limits=limits)) == {"first token", "gap in a stream"}


def test_a_window_is_judged_by_the_calls_that_began_in_it() -> None:
    made = calls()
    made[80] = replace(made[80], fate=Fate.BROKEN)
    account = Account(tuple(made), True)
    calm = judge_window("calm", account, Window(0, 8 * SECOND), LIMITS)
    assert (calm.overall(), calm.figures["acknowledged"]) == (Verdict.HOLDS, 80)
    assert failing(judge_window("broken", account, Window(8 * SECOND, 10 * SECOND), LIMITS)) == {"nothing broken"}


def test_what_is_written_down_is_read_again_and_a_call_without_its_end_is_told(tmp_path: Path) -> None:
    book, made = Book(tmp_path / "chats.jsonl"), calls(3)
    begun = [Call(call.id, call.conversation, call.streamed, call.due, call.began) for call in made]
    for call in begun:
        book.begin(call)
    book.end(made[0])
    assert read(tmp_path / "chats.jsonl") == Account((made[0], *begun[1:]), False)
    assert begun[1].fate is Fate.UNENDED
    for call in made[1:]:
        book.end(call)
    book.close()
    assert read(tmp_path / "chats.jsonl") == Account(tuple(made), True)
    with (tmp_path / "chats.jsonl").open("a") as file:
        file.write('["began", "call-9"')
    assert read(tmp_path / "chats.jsonl") == Account(tuple(made), True)


def clock(*times: int) -> Callable[[], int]:
    return iter(times).__next__


def test_a_conversation_asks_on_its_own_schedule_and_leaves_out_what_went_by() -> None:
    schedule = Schedule(rate=2, seconds=20, conversations=10)  # each of them every 5 s, half a second apart
    assert list(schedule.turns(3, 0, lambda: 0)) == [(n, int((1.5 + 5 * n) * SECOND)) for n in range(4)]
    late = list(schedule.turns(0, 0, clock(12 * SECOND, 13 * SECOND, 20 * SECOND, 99 * SECOND)))
    assert late == [(0, 0), (1, 15 * SECOND), (2, 20 * SECOND)]


def test_a_conversation_begins_alike_at_every_turn_and_tells_who_it_is_in_its_own_way() -> None:
    turns = [asked("r", 0, turn, 8) for turn in range(8)]
    assert [streamed for _, streamed, _ in turns].count(False) == 2
    assert {name for name, _, _ in turns} == {"r-header-0"}
    beginnings = {json.dumps(sent.body["messages"][:2]) for _, _, sent in turns}
    assert len(beginnings) == 1
    assert json.dumps(asked("r", 3, 0, 8)[2].body["messages"][:2]) not in beginnings
    by_header, by_user, by_messages = (asked("r", number, 0, 8)[2] for number in range(3))
    assert dict(by_header.headers) == {"x-conversation-id": "r-header-0"} and "user" not in by_header.body
    assert by_user.body["user"] == "r-user-1" and not by_user.headers
    assert not by_messages.headers and "user" not in by_messages.body


@pytest.mark.parametrize("url", ["llm:8000/v1", "ftp://llm/v1", "http:///v1", "http://me:secret@llm/v1"])
def test_an_address_that_nobody_can_be_asked_at_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadAddress, match="without credentials") as refused:
        Caller(url, 1)
    assert "secret" not in str(refused.value)
