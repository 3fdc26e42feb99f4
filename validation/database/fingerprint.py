"""One digest of what is declared in the schemas that move, and what changed between two: DDL under way is seen by it.

ANALYZE, rows, values of sequences, and the move's own schema do not change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.postgres import bookkeeping
from adapters.postgres.definitions import Definition, declared
from adapters.postgres.driver import Connection

VERSION = 1


class UnreadableFingerprint(ValueError):
    """A text that is no fingerprint of this version: nothing can be said of what changed since."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of one side. `parts`: for each declared thing ("column public.t.a") the digest of its definition."""

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Of all."""
        body = json.dumps(sorted(self.parts.items()), ensure_ascii=False)
        return hashlib.sha256(body.encode()).hexdigest()

    def to_json(self) -> str:
        """To be kept beside the route, or in a file."""
        return json.dumps({"version": VERSION, "parts": dict(self.parts)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Fingerprint:
        """Read what to_json wrote. Raises UnreadableFingerprint."""
        try:
            body = json.loads(text)
            version, parts = body["version"], {str(name): str(digest) for name, digest in body["parts"].items()}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UnreadableFingerprint(f"not a fingerprint: {type(error).__name__}") from None
        if version != VERSION:
            raise UnreadableFingerprint(f"a fingerprint of version {version!r}, not {VERSION}")
        return cls(parts)


def of(definitions: Sequence[Definition]) -> Fingerprint:
    """The fingerprint of what was read."""
    return Fingerprint({
        f"{one.kind} {one.name}": hashlib.sha256(one.text.encode()).hexdigest()[:16] for one in definitions
    })  # fmt: skip


def take(connection: Connection, schemas: Sequence[str]) -> Fingerprint:
    """The fingerprint of `schemas` as they are now. Raises PostgresError."""
    return of(declared(connection, [schema for schema in schemas if schema != bookkeeping.SCHEMA]).definitions)


def changes(before: Fingerprint, after: Fingerprint) -> tuple[str, ...]:
    """What changed, by name, in order: `column public.t.a: changed`."""
    found: list[str] = []
    for name in sorted(before.parts.keys() | after.parts.keys()):
        old, new = before.parts.get(name), after.parts.get(name)
        if old != new:
            found.append(f"{name}: {'added' if old is None else 'gone' if new is None else 'changed'}")
    return tuple(found)
