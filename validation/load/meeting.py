"""How the publisher and the consumers of one run find each other: small files in their shared folder.

ready-<group>      the consumer is placed and has seen a probe of every key
stop               the publisher is to end; the consumers end once they have seen everything
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

POLL_SECONDS = 0.25


def ready_path(folder: Path, group: str) -> Path:
    """Where the consumer of `group` says that it is ready."""
    return folder / f"ready-{group}"


def stop_path(folder: Path) -> Path:
    """Whose existence ends the publisher."""
    return folder / "stop"


def not_ready(folder: Path, groups: Sequence[str]) -> tuple[str, ...]:
    """The groups whose consumers are not ready yet."""
    return tuple(group for group in groups if not ready_path(folder, group).exists())


def until(true: Callable[[], bool], seconds: float, give_up: Callable[[], bool] = lambda: False) -> bool:
    """Wait until `true()`, at most `seconds`; whether it came true. `give_up` ends the wait early."""
    deadline = time.monotonic() + seconds
    while not true():
        if give_up() or time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)  # files in a shared folder announce nothing
    return True
