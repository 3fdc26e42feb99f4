"""Keeps secrets out of what people read: the API server quotes values that it refuses."""

from __future__ import annotations

import base64

from local.pulumi_plugins.values import Value, secret_texts

SHORTEST = 4
"""Shorter texts are no secrets, and hiding each occurrence of them would hide the message."""
MASK = "[secret]"


def redacted(text: str, values: Value) -> str:
    """`text` without the secrets in `values`, plain or in Base64."""
    hidden = {secret for secret in secret_texts(values) if len(secret) >= SHORTEST}
    encoded = {base64.b64encode(secret.encode()).decode() for secret in hidden}
    for secret in sorted(hidden | encoded | _decoded(hidden), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _decoded(hidden: set[str]) -> set[str]:
    found = set()
    for secret in hidden:
        try:
            plain = base64.b64decode(secret, validate=True).decode()
        except ValueError:
            continue
        if len(plain) >= SHORTEST:
            found.add(plain)
    return found
