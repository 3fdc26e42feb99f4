"""Strategies of the user's own: a folder of Python files, each with one strategy, which bears the file's name.

They are imported where nothing can be reached or read that is not theirs (services/backtesting_service/confining.py);
the service itself knows them by what such a process says of them.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from adapters.backtesting.strategies.base import Strategy

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PACKAGE = "own_strategies"
FIX = "See docs/backtesting.md#strategies-of-your-own"


class OwnStrategyError(ValueError):
    """A file that gives no strategy: which, and why."""


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of a file without importing it again. `problem`: why it gives no strategy; empty where it does."""

    name: str
    parameters: tuple[str, ...]
    legs: int
    sha256: str
    problem: str = ""


def files(folder: Path) -> list[Path]:
    """The files that are to be strategies, by name; those that begin with `_` or `.` are passed over, as what they
    share, and as what Kubernetes mounts beside them. Raises OSError."""
    return sorted(path for path in folder.glob("*.py") if path.name[0] not in "_.")


def source_sha256(path: Path) -> str:
    """What tells one version of a strategy from another."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content_of(path: Path, sha256: str | None = None) -> bytes:
    """What is in a file, which must have that checksum. Raises OwnStrategyError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OwnStrategyError(f"{path.name} cannot be read: {error.strerror}") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise OwnStrategyError(f"{path.name} was changed since the service began: restart it to use the new one")
    return content


def load(path: Path, taken: Collection[str] = (), sha256: str | None = None) -> type[Strategy]:
    """The strategy of a file, whose code is run for it. `taken`: names of others; `sha256`: that the file must have, so
    that no other code is run than was described. Raises OwnStrategyError."""
    name = path.stem
    if not _NAME.fullmatch(name):
        raise OwnStrategyError(f"{path.name}: a strategy's name has small letters, digits and _. Rename the file")
    if name in taken:
        raise OwnStrategyError(f"{path.name}: there is a strategy {name} already. Rename the file")
    module = _imported(path, content_of(path, sha256), f"{_PACKAGE}.{name}")
    found = [
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Strategy) and kind.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise OwnStrategyError(f"{path.name}: it has {len(found)} subclasses of Strategy, and gives one. {FIX}")
    if inspect.isabstract(found[0]):
        missing = ", ".join(sorted(found[0].__abstractmethods__))
        raise OwnStrategyError(f"{path.name}: {found[0].__name__} lacks {missing}. {FIX}")
    return found[0]


def _imported(path: Path, content: bytes, name: str) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # numba and dataclasses look their module up
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)  # noqa: S102 - what this process is confined for
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise OwnStrategyError(f"{path.name}: {type(error).__name__}: {error}") from error
    return module


def describe(path: Path, taken: Collection[str] = ()) -> Described:
    """What a file gives, or why it gives nothing. Runs its code."""
    digest = ""
    try:
        digest = source_sha256(path)
        kind = load(path, taken, digest)
        return Described(path.stem, tuple(inspect.signature(kind).parameters), kind.legs, digest)
    except (OwnStrategyError, OSError) as error:
        return Described(path.stem, (), 0, digest, str(error))


class Known:
    """What this process knows of them: descriptions, and, where they were imported, the strategies themselves."""

    def __init__(self) -> None:
        self._described: dict[str, Described] = {}
        self._loaded: dict[str, type[Strategy]] = {}
        self._told = False

    def tell(self, described: Mapping[str, Described] | None) -> None:
        """These there are, and no others; None: no folder of them is named."""
        self._described, self._told = dict(described or {}), described is not None

    def fix(self, name: str) -> str:
        """What makes a strategy `name` of the user's own known, which is not."""
        if self._told:
            return f"put {name}.py into your folder, and restart the service"
        return "name its folder, for none is named: crossover:backtesting.strategies, STRATEGIES_PATH or --strategies"

    def put(self, name: str, kind: type[Strategy]) -> None:
        """`kind` was imported."""
        self._loaded[name] = kind

    @property
    def described(self) -> Mapping[str, Described]:
        """By name, those included that give no strategy."""
        return self._described

    @property
    def loaded(self) -> Mapping[str, type[Strategy]]:
        """By name."""
        return self._loaded

    def usable(self, name: str) -> Described | None:
        """What can be asked for under `name`."""
        found = self._described.get(name)
        return None if found is None or found.problem else found


KNOWN = Known()
"""Of this process."""
