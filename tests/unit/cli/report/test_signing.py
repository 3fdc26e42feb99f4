"""The signature of a report, checked as the document says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cli.errors import CliError
from cli.report.model import build
from cli.report.page import page
from cli.report.signing import NAMESPACE, signed
from tests.unit.cli.report.migrations import gathered

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed here")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    made = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", str(made)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    kind, public, _ = made.with_suffix(".pub").read_text().split()
    (tmp_path / "allowed").write_text(f"ann@example.com {kind} {public}\n")
    return made


def holds(folder: Path, signature: str, digest: str) -> bool:
    (folder / "sig").write_text(signature)
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "ann@example.com", "-n", NAMESPACE, "-s", "sig"]
    done = subprocess.run(command, cwd=folder, input=f"{digest}\n", capture_output=True, text=True, check=False)
    return done.returncode == 0


def test_the_page_holds_a_signature_of_its_digest_and_of_nothing_else(key: Path) -> None:
    made = build(gathered())
    text = page(made, signed(made.digest, key))
    begins = text.index("-----BEGIN SSH SIGNATURE")
    found = re.sub("<[^>]*>", "", text[begins : text.index("END SSH SIGNATURE-----") + len("END SSH SIGNATURE-----\n")])
    assert holds(key.parent, found, made.digest)
    assert not holds(key.parent, found, "0" * 64)
    assert 'id="signature"' not in page(made)


def test_a_key_that_cannot_sign_is_told(key: Path) -> None:
    with pytest.raises(CliError, match="there is no key"):
        signed("0" * 64, key.parent / "none")
    broken = key.parent / "broken"
    broken.write_text("no key\n")
    broken.chmod(0o600)
    with pytest.raises(CliError, match="broken could not sign"):
        signed("0" * 64, broken)
