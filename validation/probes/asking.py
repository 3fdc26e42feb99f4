"""One probe over HTTP, as a caller makes it that has never asked before.

By the standard library, like every judge of what adapters do. Each probe has a connection of its own, so that it meets
whoever answers now, not whoever answered the first; none is repeated.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

_PIECE = 1 << 16
_MOST_WORDS = 200
_GOOD = range(200, 300)


class BadTarget(ValueError):
    """A target that cannot be asked: what is wrong, and the form it must have."""


@dataclass(frozen=True, slots=True)
class Target:
    """A service by its name, and what is asked of it: http[s]://host[:port]/path."""

    service: str
    url: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """From NAME=URL. Raises BadTarget."""
        service, _, url = text.partition("=")
        parts = urlsplit(url)
        if not service or parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            # The text itself is left out: it may hold credentials.
            raise BadTarget(
                f"the target {service!r} cannot be asked: write NAME=http[s]://host[:port]/path, without credentials"
            )
        return cls(service, url)


def targets_of(texts: Sequence[str]) -> tuple[Target, ...]:
    """The targets. Raises BadTarget where one cannot be asked, a name is given twice, or there is none."""
    found = tuple(Target.parse(text) for text in texts)
    if len({target.service for target in found}) != len(found):
        raise BadTarget("a name is given twice: what belongs to whom could not be told. Give each target its own name")
    if not found:
        raise BadTarget("there is no target: nothing would be asked. Write NAME=http[s]://host[:port]/path")
    return found


def ask(target: Target, timeout: float) -> str:
    """Why `target` gave no good answer within `timeout` s; empty where it did: a status of 2xx, and its body whole.
    Never raises for what the other side does."""
    parts = urlsplit(target.url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    deadline = time.monotonic() + timeout
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers={"connection": "close"})
        response = connection.getresponse()
        said = bytearray()
        while data := response.read1(_PIECE):
            said += data if len(said) < _MOST_WORDS else b""
            if time.monotonic() > deadline:
                return f"no whole answer within {timeout:g} s"
        if response.length:  # read1 does not tell of an end that comes too early
            return f"broken off {response.length} bytes before its end"
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except (OSError, HTTPException) as error:
        return f"{error.__class__.__name__}: {error}"[:_MOST_WORDS]
    finally:
        connection.close()
    if response.status in _GOOD:
        return ""
    return f"{response.status}: {said[:_MOST_WORDS].decode(errors='replace')}"
