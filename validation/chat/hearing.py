"""What a caller hears of an answer, and what it is worth. Pure: bytes and times in, a finding out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from validation.chat.account import Fate

DONE = "[DONE]"
_FIELD = b"data:"
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of an answer, and what of it tells why."""

    fate: Fate
    error: str = ""


class Heard:
    """A stream of server-sent events as it comes. `first` is when the first part with content came (0: none did), `gap`
    the longest time between two events, in ns; `model` and `answer` what the backend called itself and its answer."""

    def __init__(self) -> None:
        self.first = 0
        self.gap = 0
        self.chunks = 0
        self.model = ""
        self._left = b""
        self._last = 0
        self._done = 0
        self._finished = 0
        self._after_end = 0
        self._answers: list[str] = []
        self._problem: Finding | None = None

    @property
    def answer(self) -> str:
        """The id of the answer; the first, where there is more than one."""
        return self._answers[0] if self._answers else ""

    def take(self, data: bytes, at: int) -> None:
        """`data` came at `at`, however the events in it were cut."""
        *lines, self._left = (self._left + data).split(b"\n")
        for line in lines:
            if line.startswith(_FIELD):
                self._event(line.removeprefix(_FIELD).strip().decode(errors="replace"), at)

    def finding(self) -> Finding:
        """What the stream was, now that it has ended without an error of the connection."""
        if self._problem is not None:
            return self._problem
        if len(self._answers) > 1 or self._done > 1 or self._finished > 1 or self._after_end:
            told = f"{self._done} times {DONE}, {self._finished} ends, {self._after_end} events after the end"
            return Finding(Fate.DOUBLED, f"ids {', '.join(self._answers)}: {told}")
        if not self._finished:
            return Finding(Fate.CUT, f"a stream of {self.chunks} chunks without a finish_reason")
        if not self._done:
            return Finding(Fate.CUT, f"a stream of {self.chunks} chunks without {DONE}")
        return Finding(Fate.WHOLE)

    def _event(self, text: str, at: int) -> None:
        self._after_end += bool(self._done)
        if text == DONE:
            self._done += 1
            return
        if self._last:
            self.gap = max(self.gap, at - self._last)
        self._last = at
        self.chunks += 1
        try:
            self._chunk(json.loads(text), at)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            self._problem = self._problem or Finding(Fate.CUT, f"no chunk of a completion: {text[:_SHOWN]}")

    def _chunk(self, chunk: Any, at: int) -> None:
        if chunk.get("error"):
            self._problem = self._problem or Finding(Fate.BROKEN, message_of(chunk))
            return
        self.model = self.model or str(chunk["model"])
        if chunk["id"] not in self._answers:
            self._answers.append(str(chunk["id"]))
        for choice in chunk["choices"]:  # none in the last chunk, where usage was asked for
            said = any(value for name, value in choice["delta"].items() if name != "role")
            self.first = self.first or (at if said else 0)
            self._finished += choice.get("finish_reason") is not None


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer that came in one piece."""

    finding: Finding
    model: str = ""
    answer: str = ""


def whole(body: bytes) -> Whole:
    """What an answer in one piece is worth."""
    try:
        found = json.loads(body)
        choice = found["choices"][0]
        complete = choice["finish_reason"] is not None and isinstance(choice["message"], dict)
        finding = Finding(Fate.WHOLE) if complete else Finding(Fate.CUT, "an answer without a finish_reason")
        return Whole(finding, str(found["model"]), str(found["id"]))
    except (ValueError, TypeError, KeyError, IndexError):
        return Whole(Finding(Fate.CUT, f"no completion: {body[:_SHOWN].decode(errors='replace')}"))


def message_of(error: Any) -> str:
    """What an error in OpenAI's form says; all of it where it is in another."""
    inner = error.get("error") if isinstance(error, dict) else None
    text = inner.get("message") if isinstance(inner, dict) else None
    return str(text or json.dumps(error))[:_SHOWN]
