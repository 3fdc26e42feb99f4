"""Where the pieces of a sweep are kept: the interface, and the shipped fake."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import override

from adapters.backtesting.jobs import JobRefused

MOST_BYTES = 256 << 20
"""Of one piece."""


class Parts(ABC):
    """Of one sweep. A piece is there whole or not at all, and the same from whoever did it: that is what makes it safe
    to do one twice. Every method raises JobsUnavailable, and JobRefused where it is refused for good."""

    @abstractmethod
    def done(self) -> frozenset[int]:
        """The indexes that are there."""

    def has(self, index: int) -> bool:
        """Whether a piece is there."""
        return index in self.done()

    @abstractmethod
    def put(self, index: int, content: bytes) -> None:
        """Keep a piece, durably; one that is there stays as it is."""

    @abstractmethod
    def read(self, index: int) -> bytes:
        """A piece that is there."""


class MemoryParts(Parts):
    """Of one process."""

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}

    @override
    def done(self) -> frozenset[int]:
        return frozenset(self._parts)

    @override
    def put(self, index: int, content: bytes) -> None:
        self._parts.setdefault(index, content)

    @override
    def read(self, index: int) -> bytes:
        if index not in self._parts:
            raise JobRefused(f"piece {index} is not there")
        return self._parts[index]
