"""What the `crossover` command tells the audit log: who asked for what, and what was held back. The log may be away:
the command goes on, says so, and keeps on this machine what the next one is to append."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from rich.console import Console

from adapters.routes.audit import AuditLog
from adapters.routes.kubernetes import connect
from adapters.routes.kubernetes_audit import KubernetesAudit
from adapters.routes.recording import Noted, Recorder
from cli.declared import declared
from cli.errors import CliError
from cli.stack import ROOT, Wish
from contracts import names
from contracts.audit import Kind, plain
from contracts.stages import Component, Stage

_LOOKED_AT = 1000
"""Entries, among which one is looked for that a command may have appended that was ended then."""
_err = Console(stderr=True)


def actor(env: Mapping[str, str] = os.environ) -> str:
    """Who runs this command: who CROSSOVER_ACTOR names, or the user and the host."""
    if told := env.get(names.ENV_ACTOR, "").strip():
        return told
    return user_here()


def user_here() -> str:
    """The user and the host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container without the user's entry
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def audit_namespace(root: Path, stack: str) -> str:
    """Where the stack's audit log is, by its config file; the default where that says nothing, or cannot be read."""
    try:
        given = declared(root, stack).get("namespaces")
    except CliError:
        given = None
    found = given.get("audit") if isinstance(given, Mapping) else None
    return str(found or names.AUDIT_NAMESPACE)


class Spool:
    """A file with what waits to be appended, one note a line. Several commands may use it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, root: Path, stack: str) -> Self:
        """That of a stack on this machine."""
        return cls(root / ".crossover" / f"audit-{stack}.jsonl")

    def read(self) -> list[Noted]:
        """What waits, oldest first. Nothing does where the file cannot be read: that must stop no command."""
        if not self.path.exists():
            return []
        try:
            with self._locked() as file:
                return _notes(file)
        except OSError:
            return []

    def add(self, notes: Sequence[Noted]) -> None:
        """Have `notes` wait, too. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as file:
            file.seek(0, os.SEEK_END)
            file.writelines(f"{json.dumps({**asdict(one), 'data': plain(one.data)})}\n" for one in notes)

    def drop(self, notes: Sequence[Noted]) -> None:
        """Take out what was appended. Raises OSError."""
        with self._locked() as file:
            left = [one for one in _notes(file) if one not in notes]
            file.seek(0)
            file.truncate()
            file.writelines(f"{json.dumps(asdict(one))}\n" for one in left)

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        with self.path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _notes(file: IO[str]) -> list[Noted]:
    """A line that is none, such as the half one of a command that was killed, is passed over."""
    file.seek(0)
    found = []
    for line in file:
        with suppress(ValueError, TypeError):
            found.append(Noted(**json.loads(line)))
    return found


class Trail:
    """What one command leaves in the audit log. Use as a context manager: its end waits for the log, for a short
    while."""

    def __init__(
        self, stack: str, context: str | None, root: Path = ROOT, opened: Callable[[], AuditLog] | None = None
    ) -> None:
        self._stack = stack
        self._spool = Spool.of(root, stack)
        self._waiting: list[Noted] = []
        self._begun = False
        # Connected only once there is something to tell, and aside.
        log = opened or (lambda: KubernetesAudit(audit_namespace(root, stack), connect(context)))
        self._recorder = Recorder(log, actor(), {"stack": stack})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        left = self._recorder.close()
        if self._recorder.complete:
            if self._waiting:
                with suppress(OSError):  # it stays, and is seen to be there by the next command
                    self._spool.drop(self._waiting)
            return
        where = f" They wait in {self._spool.path}: the next command that reaches the log appends them"
        try:
            self._spool.add(left)
        except OSError as failed:
            where = f" Nor could they be kept on this machine ({failed}): {[one.kind for one in left]} are lost"
        said = f"AUDIT: the audit log could not be written, {len(left)} entries of this command are not in it: "
        _err.print(f"{said}{self._recorder.trouble}.{where}", style="bold red", highlight=False, markup=False)

    def note(self, kind: Kind, component: Component | None, **data: Any) -> None:
        """Have it appended."""
        if not self._begun:
            self._begun = True
            self._waiting = self._spool.read()
            if self._waiting:
                self._recorder.add(self._lacking)
        self._recorder.note(kind, component, data)

    def _lacking(self, log: AuditLog) -> list[Noted]:
        there = list(islice(log.latest(), _LOOKED_AT))
        return [one for one in self._waiting if not any(one.same(entry) for entry in there)]

    def config_changed(self, component: Component, before: Stage, wish: Wish) -> None:
        """That stack config was made to ask for `wish`."""
        told = {"emergency": True} if wish.emergency else {}
        self.note(Kind.CONFIG, component, **{"from": before.value, "to": wish.stage.value}, **told)
