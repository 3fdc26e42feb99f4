"""PostgreSQL's own programs (pg_dump, pg_restore, pg_dumpall), run with nothing secret in their arguments."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence

from adapters.postgres.driver import Address
from adapters.postgres.errors import PostgresError, Refused, StatementFailed, Unavailable


def fits(program: str, server: int) -> None:
    """Raise StatementFailed where `program` is not here, or older than a `server` of that major version."""
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise StatementFailed(
            f"{program} cannot be run ({error}): nothing was dumped. Install the client programs of PostgreSQL {server}"
        ) from None
    found = re.search(r"\) (\d+)", told)
    if found is None or int(found[1]) < server:
        raise StatementFailed(
            f"{told.strip()!r} cannot dump a server of version {server}: nothing was dumped. "
            f"Install the client programs of PostgreSQL {server} or newer"
        )


def run(command: Sequence[str], at: Address, seconds: float) -> str:
    """What `command` writes. Where to connect stands in its environment, and nothing of ours in it changes that.

    Raises Refused, Unavailable, StatementFailed with its first error.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    try:
        done = subprocess.run(
            list(command), env={**ours, **at.environment, "LC_ALL": "C"}, capture_output=True, text=True,
            encoding="utf-8", check=False, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{at}: {command[0]} had no answer within {seconds:.0f} s") from None
    if done.returncode == 0:
        return done.stdout
    raise _failure(at, done.stderr)


def _failure(at: Address, stderr: str) -> PostgresError:
    text = next((line for line in stderr.splitlines() if "error:" in line), stderr.strip())
    if "permission denied" in text or "authentication failed" in text:
        return Refused(f"{at}: {text}")
    lost = "connection" in text or "lock timeout" in text or "timeout" in text
    return Unavailable(f"{at}: {text}") if lost else StatementFailed(f"{at}: {text}")
