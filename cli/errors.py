"""What the command says when it cannot go on."""

from __future__ import annotations


class CliError(Exception):
    """A failure that is told to the user as it is, without a traceback."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix
