"""The annotation pulumi.com/waitFor: conditions and JSONPath expressions of the user's own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from local.pulumi_plugins.failures import ProviderError
from local.pulumi_plugins.kube.objects import Object, condition
from local.pulumi_plugins.kube.waits.base import Verdict, View, Wait, ready, waiting

CUSTOM_SECONDS = 600.0
_STEP = re.compile(r"""\.(?P<key>[\w-]+)|\['(?P<quoted>[^']+)'\]|\[(?P<index>\d+|\*)\]""")
type _Test = Callable[[Object], bool]


def custom_wait(text: str) -> Wait:
    """The wait that the annotation describes. Raises ProviderError for a malformed one.

    `condition=TYPE[=STATUS]`, `jsonpath={.path}[=VALUE]`, or a JSON list of such texts.
    """
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = text
    expressions = [str(item) for item in parsed] if isinstance(parsed, list) else [text]
    if not expressions:
        raise ProviderError("pulumi.com/waitFor is an empty list: name a condition, or leave the annotation out")
    tests = [(expression, _parse(expression)) for expression in expressions]

    def judge(view: View) -> Verdict:
        unmet = [expression for expression, test in tests if not test(view.subject or {})]
        return waiting(f"waiting for {', '.join(unmet)}") if unmet else ready("all that waitFor names holds")

    return Wait(judge, CUSTOM_SECONDS)


def _parse(expression: str) -> _Test:
    if expression.startswith("condition="):
        name, _, status = expression.removeprefix("condition=").partition("=")
        return _condition_test(name, status or "True")
    if expression.startswith("jsonpath="):
        return _path_test(expression)
    raise ProviderError(
        f"pulumi.com/waitFor says {expression!r}: write condition=TYPE[=STATUS], or jsonpath={{.path}}[=VALUE]"
    )


def _condition_test(name: str, status: str) -> _Test:
    def test(obj: Object) -> bool:
        found = next(
            (c for c in obj.get("status", {}).get("conditions", []) if c.get("type", "").lower() == name.lower()),
            condition(obj, name),
        )
        return found is not None and str(found.get("status", "")).lower() == status.lower()

    return test


def _path_test(expression: str) -> _Test:
    match = re.fullmatch(r"jsonpath=\{(?P<path>[^}]*)\}(?:=(?P<value>.*))?", expression)
    path = match["path"] if match else ""
    steps = list(_STEP.finditer(path))
    if match is None or not steps or "".join(step[0] for step in steps) != path:
        raise ProviderError(f"pulumi.com/waitFor says {expression!r}: write jsonpath={{.a.b[0].c}}[=VALUE]")
    wanted = match["value"]

    def test(obj: Object) -> bool:
        found: list[Any] = [obj]
        for step in steps:
            found = [inner for item in found for inner in _take(item, step)]
        return bool(found) if wanted is None else wanted in {_text(item) for item in found}

    return test


def _take(item: Any, step: re.Match[str]) -> list[Any]:
    key = step["key"] or step["quoted"]
    if key is not None:
        return [item[key]] if isinstance(item, dict) and key in item else []
    if not isinstance(item, list):
        return []
    if step["index"] == "*":
        return item
    index = int(step["index"])
    return [item[index]] if index < len(item) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
