"""What makes .venv: anew where the lock has changed, also from within the .venv that it replaces."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone without requirements."""
    script = tmp_path / "local" / "setup" / "bootstrap.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "local" / "setup" / "bootstrap.sh", script)
    lock(tmp_path, "first")
    return tmp_path


def lock(clone: Path, version: str) -> None:
    (clone / "requirements-dev.txt").write_text(f"# {version}\n")


def made(clone: Path, path: str) -> str:
    done = subprocess.run(
        ["sh", "local/setup/bootstrap.sh"], cwd=clone, env={**os.environ, "PATH": path}, text=True,
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_shell_that_has_venv_first_may_make_it_anew(clone: Path) -> None:
    path = os.environ["PATH"]
    assert "made .venv" in made(clone, path)
    assert made(clone, path) == ""
    lock(clone, "second")
    assert "made .venv" in made(clone, f"{clone}/.venv/bin:{path}")
    subprocess.run([clone / ".venv" / "bin" / "python", "-c", ""], check=True)
