"""Whether two answers are the same, field by field. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from validation.api.exchange import Answer
from validation.api.rules import Rule, named

_MOST = 120


class CannotCompare(Exception):
    """Two answers that nothing can be said of: why."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs, by its dotted name; the answer's own are `status` and `media type`."""

    field: str
    recorded: str
    now: str

    def words(self) -> str:
        """For people."""
        return f"{self.field}: {self.recorded} -> {self.now}"


def differences(recorded: Answer, now: Answer, rule: Rule, *, settled: bool = False) -> list[Difference]:
    """What differs beyond what `rule` allows. Raises CannotCompare."""
    if recorded.status != now.status and not {recorded.status, now.status} <= set(rule.alike):
        return [Difference("status", str(recorded.status), f"{now.status} {_shown(now.content)}")]
    if recorded.media_type != now.media_type:
        return [Difference("media type", recorded.media_type, now.media_type)]
    if recorded.binary or now.binary:
        raise CannotCompare(f"{now.media_type or 'the content'} is binary, which is not recorded")
    allowed = rule if recorded.good else Rule(service=rule.service, method=rule.method, path=rule.path)
    return list(_Comparison(allowed, settled).found(recorded.content, now.content, ""))


class _Comparison:
    def __init__(self, rule: Rule, settled: bool) -> None:
        self._rule = rule
        self._form = (*rule.form, *(() if settled else rule.moving))

    def found(self, old: JsonValue, new: JsonValue, at: str) -> Iterator[Difference]:
        """What differs at the field `at` and below."""
        if named(self._rule.volatile, at) or named(self._rule.optional, at):
            return
        form = named(self._form, at)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from self._objects(old, new, at, form)
        elif isinstance(old, list) and isinstance(new, list):
            yield from self._forms(old, new, at) if form else self._lists(old, new, at)
        elif not (_type(old) == _type(new) or (form and None in (old, new))):
            yield Difference(at or "content", f"{_type(old)} {_shown(old)}", f"{_type(new)} {_shown(new)}")
        elif not form and not self._same(old, new, at):
            yield Difference(at or "content", _shown(old), _shown(new))

    def _objects(
        self, old: dict[str, JsonValue], new: dict[str, JsonValue], at: str, form: bool
    ) -> Iterator[Difference]:
        for name in [*old, *(name for name in new if name not in old)]:
            field = f"{at}.{name}" if at else name
            if name in old and name in new:
                yield from self.found(old[name], new[name], field)
            elif not named(self._rule.optional, field) and not (form and name in new):
                # By form, a name more is one that callers need not know of.
                yield Difference(field, *(_shown(one[name]) if name in one else "missing" for one in (old, new)))

    def _lists(self, old: list[JsonValue], new: list[JsonValue], at: str) -> Iterator[Difference]:
        if len(old) != len(new):
            yield Difference(at or "content", f"{len(old)} items", f"{len(new)} items")
        for place, (one, other) in enumerate(zip(old, new, strict=False)):
            yield from self.found(one, other, f"{at}.{place}" if at else str(place))

    def _forms(self, old: list[JsonValue], new: list[JsonValue], at: str) -> Iterator[Difference]:
        """Each of the new items must be like one of the old."""
        if bool(old) != bool(new):
            raise CannotCompare(f"{at or 'the list'} is empty in one of the two: its items' form is not known")
        for place, item in enumerate(new):
            field = f"{at}.{place}" if at else str(place)
            tried = [list(self.found(one, item, field)) for one in old]
            if all(tried):
                yield from min(tried, key=len)

    def _same(self, old: JsonValue, new: JsonValue, at: str) -> bool:
        if isinstance(old, int | float) and isinstance(new, int | float):
            part = max((far for pattern, far in self._rule.tolerance.items() if named([pattern], at)), default=0.0)
            return old == new or math.isclose(old, new, rel_tol=part, abs_tol=part)
        return old == new


def _type(value: JsonValue) -> str:
    kinds = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    return kinds.get(type(value), "null")


def _shown(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."
