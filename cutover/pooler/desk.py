"""What the agent keeps in the folder that it shares with PgBouncer: the ini, and its own memory across restarts."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.routes import Route

INI, MEMORY, ROUTE = "pgbouncer.ini", "agent.json", "route.json"


class Memory(BaseModel):
    """`paused`: a pause of ours may be in force; written before it is asked for, and taken back after it is over.
    `epoch`: the fence's it is for (0: none), `side`: what served before it, `at`: when, in seconds since 1970.
    `refused`: the epoch of the last fence that is not obeyed (any more)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    paused: bool = False
    epoch: int = 0
    side: str = ""
    at: float = 0.0
    refused: int = 0


class Desk:
    """The folder. Files appear whole, by a rename. `mode`: the ini holds a password, so only their owner reads them."""

    def __init__(self, folder: Path, mode: int = 0o600) -> None:
        self._folder = folder
        self._mode = mode

    @property
    def ini(self) -> str:
        """The ini as PgBouncer would read it if it started now; empty before the first."""
        path = self._folder / INI
        return path.read_text() if path.exists() else ""

    @ini.setter
    def ini(self, text: str) -> None:
        self._write(INI, text)

    @property
    def memory(self) -> Memory:
        """What the agent before this one knew. None can be read: then a pause counts as an operator's."""
        try:
            return Memory.model_validate_json((self._folder / MEMORY).read_text())
        except (FileNotFoundError, ValidationError):
            return Memory()

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self._write(MEMORY, memory.model_dump_json())

    @property
    def route(self) -> Route | None:
        """The last route that was seen, for an agent that starts while Kubernetes is away."""
        try:
            return Route.model_validate_json((self._folder / ROUTE).read_text())
        except (FileNotFoundError, ValidationError):
            return None

    @route.setter
    def route(self, route: Route) -> None:
        self._write(ROUTE, route.model_dump_json(exclude_none=True))

    def _write(self, name: str, text: str) -> None:
        aside = self._folder / f".{name}.new"
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode), "w") as file:
            file.write(text)
        aside.rename(self._folder / name)
