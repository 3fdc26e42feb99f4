"""Keeps secrets out of what people read: the API server and pods quote values that they refuse."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from local.pulumi_plugins.values import Secret, Value, secret_texts

SHORTEST = 4
"""Shorter texts are no secrets, and hiding each occurrence of them would hide the message."""
MASK = "[secret]"
_TELLING = frozenset({"args", "command", "data", "stringData", "value"})
"""Where a secret stands inside a part that is marked secret as a whole, such as `containers`.
Names and images in there are no secrets, and hiding them would make errors useless."""


class Redactor:
    """Hides the secrets of one resource's inputs."""

    def __init__(self, values: Value, *, exact: bool) -> None:
        """`exact`: the values come from the program, which marks nothing but the secrets."""
        found = secret_texts(values) if exact else set(_likely(values, hidden=False, telling=False))
        texts = {text for text in found if len(text) >= SHORTEST}
        encoded = {base64.b64encode(text.encode()).decode() for text in texts}
        self._texts = sorted(texts | encoded | _decoded(texts), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._texts:
            text = text.replace(secret, MASK)
        return text


def _likely(value: Any, *, hidden: bool, telling: bool) -> Iterator[str]:
    """Texts inside Secrets. `telling`: the value stands below a telling key, or is secret by itself."""
    if isinstance(value, Secret):
        yield from _likely(value.value, hidden=True, telling=telling or not isinstance(value.value, dict | list))
    elif isinstance(value, dict):
        for key, item in value.items():
            inherited = telling and _is_map_of_texts(value)
            yield from _likely(item, hidden=hidden, telling=inherited or key in _TELLING)
    elif isinstance(value, list):
        for item in value:
            yield from _likely(item, hidden=hidden, telling=telling)
    elif isinstance(value, str) and hidden and telling:
        yield value


def _is_map_of_texts(value: dict[str, Any]) -> bool:
    return all(isinstance(item, str) for item in value.values())


def _decoded(texts: set[str]) -> set[str]:
    found = set()
    for text in texts:
        try:
            plain = base64.b64decode(text, validate=True).decode()
        except ValueError:
            continue
        if len(plain) >= SHORTEST:
            found.add(plain)
    return found
