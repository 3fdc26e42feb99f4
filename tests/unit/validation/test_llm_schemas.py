"""The part of JSON Schema that prompts may use answers as the whole does."""

from __future__ import annotations

import math
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.llm_service.schemas import fits, problem

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0, -1.5]) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    def one(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries(
            {},
            optional={
                "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
                "enum": st.lists(VALUES, min_size=1, max_size=3),
                "properties": st.dictionaries(NAMES, inner, max_size=2),
                "required": st.lists(NAMES, max_size=2, unique=True),
                "additionalProperties": st.booleans(),
                "items": inner,
                "minimum": st.integers(-2, 2),
                "maximum": st.integers(-2, 2),
            },
        )

    return st.recursive(st.just({}), one, max_leaves=4)


@given(schemas(), VALUES)
def test_it_says_what_the_jsonschema_library_says(schema: dict[str, Any], value: Any) -> None:
    assert problem(schema) == ""
    assert fits(value, schema) == jsonschema.Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (3, "schema is no object"),
        ({"$ref": "http://elsewhere"}, "schema has $ref, which nothing would check"),
        ({"type": "price"}, "schema.type names price"),
        ({"type": [["string"]]}, "schema.type names ['string']"),
        ({"enum": "buy"}, "schema: enum and required are lists"),
        ({"additionalProperties": {}}, "schema.additionalProperties is true or false"),
        ({"minimum": "1"}, "schema: minimum and maximum are numbers"),
        ({"properties": []}, "schema.properties is no object"),
        ({"properties": {"a": {"items": {"format": "date"}}}}, "schema.properties.a.items has format"),
    ],
)
def test_a_schema_that_would_not_be_checked_is_refused(schema: object, told: str) -> None:
    assert problem(schema).startswith(told)


def test_no_number_is_too_large() -> None:
    assert fits(10**400, {"type": "integer"})
    assert not fits(math.inf, {"type": "integer"})
