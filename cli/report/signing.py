"""Whose the report is: its digest signed with an SSH key, by ssh-keygen, which most people have and can check with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cli.errors import CliError

NAMESPACE = "crossover-report"
"""Of the signature: one that was made for something else does not pass for a report's."""
SECONDS = 120.0
"""For whoever has to type a passphrase, or touch a key."""


def signed(digest: str, key: Path) -> str:
    """The signature of `digest` (and a line feed after it) by `key`, a private key, or the public one of a key that an
    agent holds; as text, as ssh-keygen writes it. Raises CliError."""
    command = ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)]
    fix = "--sign-key FILE: an SSH key of yours, such as ~/.ssh/id_ed25519"
    if not key.is_file():
        raise CliError(f"there is no key {key}: the report would be nobody's", fix)
    try:
        done = subprocess.run(
            command, input=f"{digest}\n", capture_output=True, text=True, check=False, timeout=SECONDS
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CliError(f"ssh-keygen did not sign ({error}): the report would be nobody's", fix) from error
    if done.returncode != 0 or "BEGIN SSH SIGNATURE" not in done.stdout:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CliError(f"{key} could not sign: {said[-1] if said else 'ssh-keygen does not say why'}", fix)
    return done.stdout
