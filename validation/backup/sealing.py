"""Sealing with a passphrase, by age (https://age-encryption.org): anybody with `age --decrypt` and the passphrase opens
it. age asks for the passphrase at a terminal only, so it is given one: thus it stands in no argument and no variable.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import termios
import time
from concurrent.futures import ThreadPoolExecutor

HEADER = b"age-encryption.org/v1\n-> scrypt "
"""How what was sealed with a passphrase begins."""
LEAST = 12
"""Characters of a passphrase."""
_SECONDS = 60.0


class SealError(Exception):
    """Nothing was sealed or opened. No text holds the passphrase."""


def seal(plain: bytes, passphrase: str) -> bytes:
    """`plain`, sealed. It is on no disk meanwhile. Raises SealError."""
    if len(passphrase) < LEAST or "\n" in passphrase:
        raise SealError(f"the passphrase must have at least {LEAST} characters, on one line")
    sealed = _through(["--encrypt", "--passphrase"], plain, passphrase)
    if not sealed.startswith(HEADER) or (plain and plain in sealed):
        raise SealError("age wrote something else than what is sealed with a passphrase: nothing was kept")
    return sealed


def unseal(sealed: bytes, passphrase: str) -> bytes:
    """The other way round. Raises SealError."""
    return _through(["--decrypt"], sealed, passphrase)


def _through(arguments: list[str], given: bytes, passphrase: str) -> bytes:
    program = shutil.which("age")
    if program is None:
        raise SealError("there is no `age` on PATH (Debian: apt-get install age)")
    terminal, end = pty.openpty()
    try:
        # Its echo would hand the passphrase back, which is of no use here.
        modes = termios.tcgetattr(end)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(end, termios.TCSANOW, modes)
        # Who leads a session and opens a terminal has it as its own.
        command = ["sh", "-c", 'exec 3<>"$0" && exec "$@"', os.ttyname(end), program, *arguments]
        pipe = subprocess.PIPE
        with (
            ThreadPoolExecutor(1) as beside,
            subprocess.Popen(command, start_new_session=True, stdin=pipe, stdout=pipe, stderr=end) as process,
        ):
            got = beside.submit(process.communicate, given)
            said = _converse(terminal, process, passphrase.encode())
            content = got.result()[0]
    finally:
        os.close(terminal)
        os.close(end)
    if process.returncode:
        lines = [line for line in said.decode(errors="replace").splitlines() if "age: error" in line]
        raise SealError(lines[0].rpartition("age: ")[2] if lines else "age failed and did not say why")
    return content


def _converse(terminal: int, process: subprocess.Popen[bytes], answer: bytes) -> bytes:
    """All that it says until it ends. Raises SealError where that takes too long."""
    said, asked, deadline = b"", 0, time.monotonic() + _SECONDS
    while True:
        ended = process.poll() is not None
        ready, _, _ = select.select([terminal], [], [], 0.0 if ended else 0.05)
        if ready:
            said += os.read(terminal, 4096)
        elif ended:
            return said
        elif time.monotonic() > deadline:
            process.kill()
            raise SealError(f"age did not end within {_SECONDS:.0f} s")
        # "Enter passphrase: ", "Confirm passphrase: ": nothing follows a question until it is answered.
        if said.count(b": ") > asked and said.endswith(b": ") and not ended:
            asked = said.count(b": ")
            os.write(terminal, answer + b"\n")
