"""What can be told of a stream of server-sent events without parsing it. Pure.

Events travel on as they came, but whole: what has come of one that is not over yet is of no use to a reader, and
where the stream breaks off there, an error can still be told in its place. So no reader ever sees half an event.
"""

from __future__ import annotations

from adapters.llm.errors import Failure

_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":", b"\n", b"\r\n")
_ERRORS = (b'data: {"error"', b'data:{"error"', b"error:", b"event: error", b"event:error")
_ERROR_WITHIN = b'\ndata: {"error"'
_BROKEN_OFF = (b'"finish_reason":"abort"', b'"finish_reason": "abort"')
"""vLLM ends so, with 200 and [DONE], what it no longer answers because it is told to end. Within a text of the answer
there would be a backslash before each quote."""
_LONGEST_FIELD = 6
_DONE = b"[DONE]"
_TAIL = 24
"""Bytes that are kept of what passed: the last event of a whole stream is shorter."""
LONGEST_EVENT = 64 << 10
"""What is longer travels in parts: it must not gather in memory."""


class Events:
    """One stream. A few comparisons of bytes a chunk."""

    __slots__ = ("_begins", "_held", "_tail", "wrong")

    def __init__(self) -> None:
        self._held = b""
        self._tail = b""
        self._begins = True
        self.wrong: Failure | None = None
        """GARBAGE where an event should begin and none does, ERROR_EVENT where it is an error, CLOSED_EARLY where it
        says that the answer was broken off."""

    def take(self, chunk: bytes) -> bytes:
        """What may travel on of all that came: whole events, up to what is wrong."""
        held = self._held + chunk if self._held else chunk
        end = len(held) if held.endswith((b"\n\n", b"\r\n\r\n")) else _last_end(held)
        begins = self._begins
        if end:
            self._begins = True
        elif len(held) > LONGEST_EVENT:
            self._begins, end = False, len(held)
        passed, self._held = held[:end], held[end:]
        if begins and self._is_wrong(held):
            return b""
        at = passed.find(_ERROR_WITHIN)
        if at >= 0:
            self.wrong = Failure.ERROR_EVENT
            passed = passed[: at + 1]
        elif (at := _broken_off(passed)) >= 0:
            self.wrong = Failure.CLOSED_EARLY
            passed = passed[: _last_end(passed[:at])]
        elif end and self._held and self._begins:
            self._is_wrong(self._held)
        if passed:
            self._tail = (self._tail + passed)[-_TAIL:] if len(passed) < _TAIL else passed[-_TAIL:]
        return passed

    def rest(self) -> bytes:
        """At the end: what is left, if that is the last event without its empty line; else it was cut off."""
        return self._held if self._held.rstrip().endswith(_DONE) else b""

    @property
    def whole(self) -> bool:
        """Whether the end of a whole answer has come."""
        return _DONE in self._tail or bool(self.rest())

    def _is_wrong(self, event: bytes) -> bool:
        """Whether `event`, or its beginning, is none."""
        if event.startswith(_ERRORS):
            self.wrong = Failure.ERROR_EVENT
        elif len(event) >= _LONGEST_FIELD and not event.startswith(_FIELDS):
            self.wrong = Failure.GARBAGE
        return self.wrong is not None


def _last_end(held: bytes) -> int:
    """Where the last whole event of `held` ends; 0 where there is none."""
    unix, dos = held.rfind(b"\n\n"), held.rfind(b"\r\n\r\n")
    return max(unix + 2 if unix >= 0 else 0, dos + 4 if dos >= 0 else 0)


def _broken_off(data: bytes) -> int:
    """Where `data` says that the answer was broken off; -1 where it does not."""
    return max(data.find(said) for said in _BROKEN_OFF)


def is_broken_off(body: bytes) -> bool:
    """Whether an answer in one piece, which looks whole, says that it was broken off."""
    return _broken_off(body) >= 0


def is_completion(body: bytes) -> bool:
    """Whether `body` looks like a whole chat completion: an object that has choices."""
    stripped = body.strip()
    return stripped.startswith(b"{") and stripped.endswith(b"}") and b'"choices"' in stripped
