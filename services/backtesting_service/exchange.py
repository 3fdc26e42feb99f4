"""What the service and a worker say to each other: orders in JSON; answers in JSON, with the bytes of files behind."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from adapters.backtesting.histories import HistoryError, Replaced
from services.backtesting_service.processes import Garbled, Look, Process
from services.backtesting_service.tables import EQUITY, ORDERS, TRADES
from services.backtesting_service.work import RESULT, STRATEGY, Job, Surroundings

FILES = frozenset({RESULT, STRATEGY, EQUITY, ORDERS, TRADES})
"""What a worker may name."""
TEXT = 8_000
"""Characters of an error's text that are told."""
_TYPE = 200
_HEADER_BYTES = 1 << 16
"""Of an answer without its files. JSON writes one character as six bytes at most."""
_TOLD_APART = {kind.__name__: kind for kind in (MemoryError, HistoryError, Replaced)}
"""Errors that callers tell apart by their class; all others by name and text alone."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first order. See work.prepare."""

    engine: str
    surroundings: Surroundings
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Order:
    """Each further one. `number`: at random, so that what was sent before it is no answer to it."""

    number: str
    job: Job


BEGINNING_JSON = TypeAdapter(Beginning)
ORDER_JSON = TypeAdapter(Order)


class Failure(BaseModel):
    """An error that a job raised, by the name of its type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Annotated[str, Field(max_length=_TYPE)]
    text: Annotated[str, Field(max_length=TEXT)]


class Header(BaseModel):
    """How an answer to the order of that number begins. `files`: their sizes, in the order in which they follow.
    Nothing at all: the worker is ready."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    number: str = ""
    files: dict[str, Annotated[int, Field(ge=0)]] | None = None
    failure: Failure | None = None


class JobFailed(Exception):
    """A job raised an error in its worker, which is well."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.type}: {failure.text}")
        self._failure = failure

    @property
    def told(self) -> Exception:
        """As callers take it."""
        known = _TOLD_APART.get(self._failure.type)
        return self if known is None else known(self._failure.text)


def failure_of(error: Exception) -> Failure:
    """`error`, as it is told: of no more characters than may be."""
    kind = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__
    try:
        text = str(error)
    except BaseException:  # it is the user's own class, and may end the process
        text = "it gives no text"
    return Failure(type=_plain(kind, _TYPE), text=_plain(text, TEXT))


def _plain(text: str, most: int) -> str:
    return text[:most].encode(errors="replace").decode()


def begin(process: Process, beginning: Beginning, look: Look) -> None:
    """Have a worker load its engine. Raises Garbled, Died, and what `look` raises."""
    process.send(BEGINNING_JSON.dump_json(beginning), look)
    if _header(process, look) != Header():
        raise Garbled("it answered what nobody had asked yet")


def ask(process: Process, job: Job, most: int, look: Look) -> Mapping[str, bytes]:
    """Have a worker do `job`: the files of its result, of at most so many bytes in all. Raises JobFailed; and Garbled,
    Died, and what `look` raises, after which the worker is of no use."""
    order = Order(secrets.token_hex(8), job)
    process.send(ORDER_JSON.dump_json(order), look)
    header = _header(process, look)
    if header.number != order.number:
        raise Garbled("it answered another order")
    if header.failure is not None and header.files is None:
        raise JobFailed(header.failure)
    if header.files is None or header.failure is not None or RESULT not in header.files:
        raise Garbled("it named neither a result nor an error")
    if not header.files.keys() <= FILES:
        raise Garbled("it named a file that no result has")
    size = sum(header.files.values())
    if size > most:
        raise Garbled(f"it announced files of {size} bytes, where {most} are the most")
    return {name: process.read(size, look) for name, size in header.files.items()}


def _header(process: Process, look: Look) -> Header:
    try:
        return Header.model_validate_json(process.receive(_HEADER_BYTES, look))
    except ValidationError:
        raise Garbled("it is not JSON of the form that is agreed") from None
