"""Which environment variable a field of settings is read from. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Env:
    """Where a field comes from. `fix` completes "Set NAME to ..."."""

    name: str
    fix: str


def env_of(field: str, info: FieldInfo) -> Env:
    """Where a field of settings comes from. Raises TypeError where it does not say so."""
    for item in info.metadata:
        if isinstance(item, Env):
            return item
    raise TypeError(f"settings field {field!r} names no environment variable: annotate it with Env(...)")
