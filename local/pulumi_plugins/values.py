"""Property values as plain Python, with the two things JSON lacks: secrets and unknowns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

type Value = Any
"""None, bool, int, float, str, list, dict, Secret or UNKNOWN, nested."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that must stay encrypted in state and hidden in output."""

    value: Value = field(repr=False)


class _Unknown:
    """The type of UNKNOWN."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, memo: dict[int, object]) -> _Unknown:
        return self


UNKNOWN: Final = _Unknown()
"""A value that is known only once another resource has been made (during previews)."""


def plain(value: Value) -> Value:
    """`value` with every Secret replaced by what it holds, as a deep copy."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def _walk(value: Value) -> Iterator[Value]:
    yield value
    if isinstance(value, Secret):
        yield from _walk(value.value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def has_unknown(value: Value) -> bool:
    """Whether any part of `value` is UNKNOWN."""
    return any(item is UNKNOWN for item in _walk(value))


def has_secret(value: Value) -> bool:
    """Whether any part of `value` is a Secret."""
    return any(isinstance(item, Secret) for item in _walk(value))


def secret_texts(value: Value) -> set[str]:
    """Every string that stands inside a Secret of `value`."""
    found: set[str] = set()
    for item in _walk(value):
        if isinstance(item, Secret):
            found.update(text for text in _walk(item.value) if isinstance(text, str))
    return found
