"""A chat completion read from its stream of server-sent events: its text, and when each part came. Pure but for the
clock that the caller hands in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_DATA = b"data:"
_DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Reply:
    """What one side answered to one prompt. Times in seconds since the question was sent; `gaps` between two parts.

    `error`: why there is no whole answer; then the rest tells how far it came. `finish`: as the API says it (`stop`,
    `length`). `tokens`: as the backend counts them, else the parts that came. `logprob`: the mean natural logarithm of
    the probability of its tokens; None where the backend gives none.
    """

    text: str = ""
    error: str = ""
    finish: str = ""
    first: float | None = None
    gaps: tuple[float, ...] = ()
    seconds: float = 0.0
    tokens: int = 0
    prompt_tokens: int = 0
    logprob: float | None = None

    @property
    def answered(self) -> bool:
        """Whether there is a whole answer, were it an empty one."""
        return not self.error


class BadStream(Exception):
    """Bytes that are no stream of chat completion chunks; what was wrong."""


class Reader:
    """Takes a stream's bytes in whatever pieces they come. `began`: the clock when the question was sent."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._rest = b""
        self._texts: list[str] = []
        self._times: list[float] = []
        self._logprobs: list[float] = []
        self._finish = ""
        self._usage: Mapping[str, Any] = {}
        self.done = False

    def feed(self, chunk: bytes, now: float) -> None:
        """Take what came at `now`. Raises BadStream."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(_DATA):
                self._event(line.removeprefix(_DATA).strip(), now)

    def reply(self, now: float, error: str = "") -> Reply:
        """All that came until `now`. A stream that said neither how it finished nor that it is done broke off."""
        if not error and not (self.done or self._finish):
            error = "the stream ended before the answer did"
        usage, times = self._usage, self._times
        return Reply(
            text="".join(self._texts),
            error=error,
            finish=self._finish,
            first=times[0] - self._began if times else None,
            gaps=tuple(later - earlier for earlier, later in pairwise(times)),
            seconds=now - self._began,
            tokens=_count(usage.get("completion_tokens")) or len(times),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            logprob=math.fsum(self._logprobs) / len(self._logprobs) if self._logprobs else None,
        )

    def _event(self, data: bytes, now: float) -> None:
        try:
            text = data.decode()
            if text == _DONE:
                self.done = True
                return
            body = json.loads(text)
        except UnicodeDecodeError:
            raise BadStream("it sent bytes that are not UTF-8") from None
        except ValueError:
            raise BadStream(f"it sent an event that is not JSON: {data[:80]!r}") from None
        if not isinstance(body, dict) or "error" in body:
            raise BadStream(f"it sent an error in mid-stream: {text[:200]}")
        self._usage = body.get("usage") or self._usage
        choices = body.get("choices")
        if isinstance(choices, Sequence) and choices:
            self._choice(choices[0], now)

    def _choice(self, choice: Any, now: float) -> None:
        try:
            content = (choice.get("delta") or {}).get("content")
            self._finish = choice.get("finish_reason") or self._finish
            parts = (choice.get("logprobs") or {}).get("content") or ()
            self._logprobs += [float(part["logprob"]) for part in parts]
        except (AttributeError, KeyError, TypeError, ValueError):
            raise BadStream(f"it sent a choice that is none: {str(choice)[:80]}") from None
        if isinstance(content, str) and content:
            self._texts.append(content)
            self._times.append(now)


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
