"""What a Transition is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping

from cutover.errors import CouldNotCheck

FIX = "Run pulumi up: it sets it"


def needed(env: Mapping[str, str], variable: str) -> str:
    """What `env` has of `variable`. Raises CouldNotCheck where that is nothing."""
    if not env.get(variable):
        raise CouldNotCheck(f"{variable} is not set", FIX)
    return env[variable]
