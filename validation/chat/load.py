"""The load: conversations that each ask on a schedule of their own, most of them for a stream."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from contracts.names import HEADER_CONVERSATION
from validation.chat.account import Book, Call, Fate
from validation.chat.calling import Asked, Caller

ALIASES = ("default", "trading")
WAYS = ("header", "user", "messages")
"""How a conversation makes itself known: by a header, by the body's `user`, or by how its messages begin."""
WHOLE_EVERY = 4
"""Of so many calls of a conversation, one asks for its answer in one piece."""
_REPORT_SECONDS = 5.0
_POLL_SECONDS = 0.25
_SYSTEM = "You comment on trades for a log. Answer with one short sentence."


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Calls a second over all conversations, and for how long at most; `max_tokens` of an answer. An answer that takes
    longer than its conversation's turn makes the next one wait, and the rate less."""

    rate: float
    seconds: float
    conversations: int = 32
    max_tokens: int = 16

    @property
    def turn(self) -> int:
        """From one question of a conversation to its next, in ns."""
        return int(self.conversations / self.rate * 1e9)

    def turns(self, conversation: int, began: int, now: Callable[[], int]) -> Iterator[tuple[int, int]]:
        """The turns of a conversation and when each is due; those that went by meanwhile are left out."""
        due = began + int(conversation / self.rate * 1e9)
        number = 0
        while due <= began + self.seconds * 1e9:
            yield number, due
            number += 1
            due += self.turn
            if (late := now() - due) > 0:
                due += -(-late // self.turn) * self.turn


def asked(run: str, conversation: int, turn: int, max_tokens: int) -> tuple[str, bool, Asked]:
    """The name of a conversation, whether this turn asks for a stream, and what is sent. It begins with the same
    messages every time, as a conversation does; what was said in between is left out, so that all turns cost alike."""
    way = WAYS[conversation % len(WAYS)]
    name = f"{run}-{way}-{conversation}"
    messages: list[dict[str, str]] = [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": f"Trade {name}: bought at 100."},
    ]
    if turn:
        messages += [{"role": "assistant", "content": "Noted."}, {"role": "user", "content": f"Now it is {turn} up."}]
    streamed = turn % WHOLE_EVERY != WHOLE_EVERY - 1
    body: dict[str, Any] = {
        "model": ALIASES[conversation % len(ALIASES)], "messages": messages, "max_tokens": max_tokens,
        "temperature": 0, "stream": streamed,
    }  # fmt: skip
    if way == "user":
        body["user"] = name
    return name, streamed, Asked(body, {HEADER_CONVERSATION: name} if way == "header" else {})


class Load:
    """One run. `say` takes a line for people."""

    def __init__(self, caller: Caller, run: str, schedule: Schedule, book: Book, say: Callable[[str], None]) -> None:
        self._caller = caller
        self._run = run
        self._schedule = schedule
        self._book = book
        self._say = say
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._fates: Counter[Fate] = Counter()
        self._under_way = 0
        self._slowest = 0

    def run(self, stopped: Callable[[], bool]) -> Counter[Fate]:
        """Ask until the schedule ends or `stopped()`, and hear out what was asked; how many calls had which fate."""
        began = time.time_ns()
        workers = [
            threading.Thread(target=self._converse, args=(number, began), name=f"conversation-{number}", daemon=True)
            for number in range(self._schedule.conversations)
        ]
        for worker in workers:
            worker.start()
        told = time.monotonic()
        for worker in workers:
            while worker.is_alive():
                worker.join(_POLL_SECONDS)
                if stopped():
                    self._ended.set()
                if time.monotonic() - told > _REPORT_SECONDS:
                    told = time.monotonic()
                    self._tell()
        self._tell()
        return self._fates

    def _tell(self) -> None:
        with self._lock:
            fates, under_way, slowest, self._slowest = dict(self._fates), self._under_way, self._slowest, 0
        counts = ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items()))
        self._say(
            f"{counts or 'nothing yet'}; {under_way} under way; slowest first part of late {slowest / 1e6:.0f} ms"
        )

    def _converse(self, number: int, began: int) -> None:
        for turn, due in self._schedule.turns(number, began, time.time_ns):
            if self._ended.wait(max(0.0, (due - time.time_ns()) / 1e9)):
                return
            self._one(number, turn, due)

    def _one(self, number: int, turn: int, due: int) -> None:
        conversation, streamed, sent = asked(self._run, number, turn, self._schedule.max_tokens)
        begun = Call(f"{conversation}-{turn}", conversation, streamed, due, time.time_ns())
        self._book.begin(begun)
        with self._lock:
            self._under_way += 1
        call = replace(begun, fate=Fate.UNENDED)
        try:
            call = self._caller.call(begun, sent)
            self._book.end(call)
        finally:
            with self._lock:
                self._under_way -= 1
                self._fates[call.fate] += 1
                self._slowest = max(self._slowest, call.first - call.due)
