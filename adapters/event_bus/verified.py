"""What a mirror has found equal in both logs, as it is kept in the log that it copies into."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from contracts.routes import Cursor


@dataclass(frozen=True, slots=True)
class Verified:
    """All of the source up to `source` equals all copies in the target up to `target`, from where the copying
    `of` began (Route.copying_id). `compared` events, by the pod `by`, noted at `at`. `differences` says what
    was found different right after that place; where it is empty, nothing was."""

    of: str
    source: Cursor
    target: Cursor
    compared: int
    at: str
    by: str
    differences: str = ""

    def to_json(self) -> str:
        """As it is stored."""
        return _ADAPTER.dump_json(self).decode()


_ADAPTER = TypeAdapter(Verified)


def parse_verified(text: str | bytes) -> Verified | None:
    """What was stored; None where that is no note of this version: then nothing counts as compared."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError:
        return None
