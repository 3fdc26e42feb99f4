"""Who may do something by the console: tokens from a file, compared in constant time, and tried slowly."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from cli.errors import CliError

SHORTEST = 24
"""Characters of a token."""
WRONG_TOKENS, WITHIN_SECONDS = 5, 60.0
"""So many wrong tokens from one address within so long, and it is not listened to until the first of them is older."""
_ADDRESSES = 1000
_MOST_BYTES = 64 << 10
_FIX = "umask 077; python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > FILE"
_NAME = re.compile(r"[\w.@-]{1,40}")


class Denied(Exception):
    """Not let in. `wait`: seconds until it may be tried again; None: another token is needed."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Tokens:
    """Whose token is whose, by hash."""

    def __init__(self, owners: Mapping[str, str]) -> None:
        """`owners`: by token, a name; empty where it is nobody's in particular."""
        self._owners = {_hash(token): name for token, name in owners.items()}

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a file with a token a line, a name before it where it is somebody's. Raises CliError, which never shows
        what is in it."""
        owners: dict[str, str] = {}
        for number, line in enumerate(_private(path).splitlines(), 1):
            if not (words := line.split()):
                continue
            if len(words) > 2 or (len(words) == 2 and not _NAME.fullmatch(words[0])):
                raise CliError(f"{path}, line {number}: it is neither TOKEN nor NAME TOKEN", _FIX)
            if len(words[-1]) < SHORTEST:
                raise CliError(f"{path}, line {number}: the token has fewer than {SHORTEST} characters", _FIX)
            owners[words[-1]] = words[0] if len(words) == 2 else ""
        if not owners:
            raise CliError(f"{path} has no token in it: nobody could do anything", _FIX)
        return cls(owners)

    def owner(self, token: str) -> str | None:
        """Whose `token` is; None: nobody's. Takes as long for a wrong one as for a right one."""
        given, found = _hash(token), None
        for known, name in self._owners.items():
            if hmac.compare_digest(known, given):
                found = name
        return found


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _private(path: Path) -> str:
    """What is in a file that nobody else can read or change. Raises CliError."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise CliError(f"the token file {path} cannot be read: {error.strerror}", _FIX) from None
    try:
        about = os.fstat(opened)
        if not stat.S_ISREG(about.st_mode):
            raise CliError(f"the token file {path} is no regular file", _FIX)
        if about.st_uid not in {0, os.geteuid()} or stat.S_IMODE(about.st_mode) & 0o077:
            mode = f"{stat.S_IMODE(about.st_mode):04o}"
            raise CliError(
                f"the token file {path} (mode {mode}, of uid {about.st_uid}) is not yours alone: whoever reads it can "
                "move components", f"chmod 600 {path}",
            )  # fmt: skip
        return os.read(opened, _MOST_BYTES).decode(errors="replace")
    finally:
        os.close(opened)


class Door:
    """Lets in who has a token."""

    def __init__(self, tokens: Tokens, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens, self._clock = tokens, clock
        self._wrong: dict[str, deque[float]] = {}

    def admit(self, address: str, authorization: str) -> str:
        """Whose token the header holds. Raises Denied, whatever it holds where its address had too many wrong ones."""
        now = self._clock()
        wrong = self._recent(address, now)
        if len(wrong) >= WRONG_TOKENS:
            raise Denied("too many wrong tokens", wait=max(wrong[0] + WITHIN_SECONDS - now, 1.0))
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Denied("a token is needed")
        owner = self._tokens.owner(token.strip())
        if owner is None:
            wrong.append(now)
            raise Denied("that is no token of this console")
        return owner

    def _recent(self, address: str, now: float) -> deque[float]:
        for known in list(self._wrong):
            while self._wrong[known] and now - self._wrong[known][0] >= WITHIN_SECONDS:
                self._wrong[known].popleft()
            if not self._wrong[known]:
                del self._wrong[known]
        # Many addresses at once share one count: what is remembered of them is bounded.
        key = address if address in self._wrong or len(self._wrong) < _ADDRESSES else "others"
        return self._wrong.setdefault(key, deque())
