"""What a caller asked, read from the body without changing it. Pure.

Only the model's name is exchanged, in place: every other byte travels as it came. So numbers keep their digits, and
what this project does not know of the API stays what it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.llm_orchestrator.errors import BadRequest

_SPACES = " \t\n\r"
_KEPT = ("model", "stream", "user", "max_completion_tokens", "max_tokens")
_GUESSED_ANSWER = 512
_BYTES_A_TOKEN = 4
_read = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, kept once and as it came, for there may be a thousand large ones. `pieces` are its bytes without the
    model's name, which stands between each two of them; `fields` the few that decide where it goes; `converses`:
    whether its messages are a list of objects."""

    pieces: tuple[bytes, ...]
    fields: Mapping[str, Any]
    converses: bool

    @property
    def model(self) -> Any:
        """What was asked for, if anything."""
        return self.fields.get("model")

    @property
    def stream(self) -> bool:
        """Whether the answer is to come as events."""
        return bool(self.fields.get("stream"))

    def content(self, model: str) -> bytes:
        """The body for a backend that calls the model `model`."""
        return json.dumps(model).encode().join(self.pieces)

    @property
    def tokens(self) -> int:
        """A guess of what it costs: the request's, and the most that the answer may have."""
        most = self.fields.get("max_completion_tokens") or self.fields.get("max_tokens")
        answer = most if isinstance(most, int) else _GUESSED_ANSWER
        return sum(map(len, self.pieces)) // _BYTES_A_TOKEN + answer

    def conversation(self, header: str | None) -> str:
        """What a conversation keeps from its first message to its last: the caller's word for it, else its user, else
        how it began."""
        if header:
            return f"header {header}"
        user = self.fields.get("user")
        if isinstance(user, str) and user:
            return f"user {user}"
        messages = json.loads(self.content("")).get("messages")
        return "messages " + json.dumps(_beginning(messages), sort_keys=True)


def _beginning(messages: Any) -> list[Any]:
    """The messages up to the user's first: later turns come after them."""
    begun: list[Any] = []
    for message in messages if isinstance(messages, list) else ():
        begun.append(message)
        if isinstance(message, dict) and message.get("role") == "user":
            break
    return begun


def parse(raw: bytes | bytearray) -> Asked:
    """Raises BadRequest."""
    try:
        text = raw.decode()
        fields, places = _object(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(fields.get("stream", False), bool | None):
        raise BadRequest(f"stream is {fields['stream']!r}, not true or false", param="stream")
    pieces, last = [], 0
    for begin, end in places:
        pieces.append(text[last:begin].encode())
        last = end
    kept = {name: fields[name] for name in _KEPT if name in fields}
    return Asked((*pieces, text[last:].encode()), kept, _are_messages(fields.get("messages")))


def _are_messages(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(message, dict) for message in found)


def _object(text: str) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """The fields of the object that `text` is, and where the values of its `model` stand."""
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        value, _ = _read(text, at)
        raise BadRequest(f"the body is a JSON {type(value).__name__}, not an object")
    fields: dict[str, Any] = {}
    places: list[tuple[int, int]] = []
    at = _skip(text, at + 1)
    more = text[at : at + 1] != "}"
    while more:
        if text[at : at + 1] != '"':
            raise ValueError(f"there is no name at character {at}")
        name, at = _read(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise ValueError(f"there is no colon at character {at}")
        begin = _skip(text, at + 1)
        fields[name], end = _read(text, begin)
        if name == "model":
            places.append((begin, end))
        at = _skip(text, end)
        more = text[at : at + 1] == ","
        if more:
            at = _skip(text, at + 1)
    if text[at : at + 1] != "}" or _skip(text, at + 1) != len(text):
        raise ValueError(f"the object does not end as it should at character {at}")
    return fields, places


def _skip(text: str, at: int) -> int:
    """The first place from `at` that holds no space."""
    while text[at : at + 1] and text[at] in _SPACES:
        at += 1
    return at
