"""The part of JSON Schema that labelled prompts may use. Pure.

A small part on purpose: `$ref` could reach for other files or the network, and `pattern` could run for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    # As JSON Schema has it: 3.0 is an integer.
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0,
}
KEYWORDS = ("type", "enum", "properties", "required", "additionalProperties", "items", "minimum", "maximum")


def problem(schema: object, where: str = "schema") -> str:
    """What is wrong with `schema` itself; empty where it can be used."""
    if not isinstance(schema, Mapping):
        return f"{where} is no object"
    if own := next(_own_problems(schema), ""):
        return f"{where}{own}"
    parts = {f"{where}.properties.{name}": part for name, part in schema.get("properties", {}).items()}
    if "items" in schema:
        parts[f"{where}.items"] = schema["items"]
    return next((found for name, part in parts.items() if (found := problem(part, name))), "")


def _own_problems(schema: Mapping[str, Any]) -> Iterator[str]:
    if unknown := sorted(set(schema) - set(KEYWORDS)):
        yield f" has {', '.join(unknown)}, which nothing would check: use only {', '.join(KEYWORDS)}"
    if wrong := [name for name in _named(schema) if not isinstance(name, str) or name not in _TYPES]:
        yield f".type names {', '.join(map(str, wrong))}: it is one of {', '.join(_TYPES)}"
    if not all(isinstance(schema.get(name, []), list) for name in ("enum", "required")):
        yield ": enum and required are lists"
    if not isinstance(schema.get("additionalProperties", True), bool):
        yield ".additionalProperties is true or false"
    if not all(_TYPES["number"](schema.get(bound, 0)) for bound in ("minimum", "maximum")):
        yield ": minimum and maximum are numbers"
    if not isinstance(schema.get("properties", {}), Mapping):
        yield ".properties is no object"


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether `value`, as json.loads gives it, is what `schema` describes."""
    names = _named(schema)
    if names and not any(_TYPES[name](value) for name in names):
        return False
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return False
    if _TYPES["number"](value) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if isinstance(value, list):
        return all(fits(one, schema.get("items", {})) for one in value)
    return not isinstance(value, dict) or _object_fits(value, schema)


def _object_fits(value: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties", {})
    if any(name not in value for name in schema.get("required", ())):
        return False
    if not schema.get("additionalProperties", True) and any(name not in properties for name in value):
        return False
    return all(fits(value[name], part) for name, part in properties.items() if name in value)


def _named(schema: Mapping[str, Any]) -> Sequence[str]:
    named = schema.get("type", [])
    return named if isinstance(named, list) else [named]


def _same(one: Any, other: Any) -> bool:
    # For Python True == 1; for JSON they are not the same.
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
