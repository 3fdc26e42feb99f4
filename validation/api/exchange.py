"""A request with its answer, as it is recorded: a line of JSON each. No secret is kept: of the headers only those that
are named here are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from contracts.names import HEADER_CONVERSATION

KEPT_HEADERS = ("accept", "content-type", HEADER_CONVERSATION)
"""Of a request. All others are left out of what is sent and recorded, `authorization` and `cookie` among them."""
_EVENTS = "text/event-stream"


class TrafficError(ValueError):
    """A file of traffic that cannot be used: where, what is wrong, and the form it must have."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(_Frozen):
    """What is asked. `path` holds the query, too, and perhaps {names} of what earlier answers gave; `body` is sent as
    JSON."""

    method: str = Field(default="GET", pattern="^(GET|POST|PUT|DELETE|PATCH)$")
    path: str = Field(pattern="^/")
    headers: Mapping[str, str] = Field(default_factory=dict)
    body: JsonValue = None

    @property
    def kept(self) -> Mapping[str, str]:
        """Its headers, but for those that may be secret."""
        return {name.lower(): value for name, value in self.headers.items() if name.lower() in KEPT_HEADERS}


class Answer(_Frozen):
    """What came back. `content`: the JSON; of a stream its events, of text the text; null where it is `binary`, which
    is not kept."""

    status: int
    media_type: str = ""
    content: JsonValue = None
    binary: bool = False

    @property
    def good(self) -> bool:
        """Whether it is of a request that succeeded."""
        return 200 <= self.status < 300

    @classmethod
    def read(cls, status: int, content_type: str, raw: bytes) -> Answer:
        """From what came over HTTP."""
        media_type = content_type.partition(";")[0].strip().lower()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return cls(status=status, media_type=media_type, binary=True)
        if media_type == _EVENTS:
            return cls(status=status, media_type=media_type, content=_events(text))
        return cls(status=status, media_type=media_type, content=_read(text) if media_type.endswith("json") else text)


class Exchange(_Frozen):
    """A request to `service`, and what it was answered; null until it is recorded. `keeps`: names by which later
    requests refer to fields of this answer. `until`: it is asked again until a field has one of these values: what is
    done aside, as a backtest is."""

    service: str
    request: Request
    answer: Answer | None = None
    keeps: Mapping[str, str] = Field(default_factory=dict)
    until: Mapping[str, Sequence[JsonValue]] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.service} {self.request.method} {self.request.path}"


def read(path: Path) -> tuple[Exchange, ...]:
    """The exchanges of a file, in order. Raises TrafficError."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrafficError(f"{path} cannot be read: {error}. Give a file of exchanges, a line of JSON each") from None
    found = tuple(_line(path, number, line) for number, line in enumerate(lines, 1) if line.strip())
    if not found:
        raise TrafficError(f"{path} holds no exchange: nothing would be compared. Write a line of JSON for each")
    return found


def write(path: Path, exchanges: Sequence[Exchange]) -> None:
    """Write the file, whole or not at all; headers that may be secret are left out."""
    aside = path.with_name(f".{path.name}.part")
    aside.write_text("".join(f"{_dumped(exchange)}\n" for exchange in exchanges))
    aside.replace(path)


def field_of(content: JsonValue, field: str) -> JsonValue:
    """The value of a field by its dotted name. Raises LookupError."""
    found = content
    for part in field.split("."):
        if isinstance(found, list) and part.isdigit():
            found = found[int(part)]
        elif isinstance(found, dict):
            found = found[part]
        else:
            raise LookupError(field)
    return found


def _dumped(exchange: Exchange) -> str:
    request = exchange.request.model_copy(update={"headers": exchange.request.kept})
    return exchange.model_copy(update={"request": request}).model_dump_json(exclude_defaults=True)


def _line(path: Path, number: int, line: str) -> Exchange:
    try:
        return Exchange.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the line"
        raise TrafficError(
            f"{path}, line {number}: {where}: {problem['msg']}. It has the form "
            '{"service": "trading-engine", "request": {"method": "GET", "path": "/positions"}}'
        ) from None


def _events(text: str) -> list[JsonValue]:
    blocks = text.replace("\r\n", "\n").split("\n\n")
    return [_read(line.removeprefix("data:").strip()) for block in blocks for line in block.splitlines()
            if line.startswith("data:")]  # fmt: skip


def _read(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value
