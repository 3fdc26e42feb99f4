"""What the tutorial does before there is a cluster, as it stands there, on a copy of the program."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.plugins.cli import PASSPHRASE, ROOT, Toolchain
from tests.tutorial import blocks

pytestmark = pytest.mark.plugins
PROGRAM = (
    "Pulumi.yaml", "__main__.py", "adapters", "cli", "components", "contracts", "cutover", "local/hosted_postgres",
    "validation",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the program: stacks are files in its folder."""
    made = tmp_path / "crossover"
    for name in PROGRAM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            made.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, made / name)
    (made / ".venv").symlink_to(sys.prefix)
    return made


def test_what_is_told_of_a_laptop_can_be_done_there(folder: Path, cli: Toolchain, tmp_path: Path) -> None:
    binaries, state = tmp_path / "bin", tmp_path / "state"
    binaries.mkdir()
    state.mkdir()
    command = binaries / "crossover"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} -W ignore -m cli "$@"\n')
    command.chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "KUBE", "CROSSOVER_"))},
        "PATH": os.pathsep.join([str(binaries), str(cli.binaries), os.environ["PATH"]]),
        "PULUMI_HOME": str(cli.home),
        "PULUMI_BACKEND_URL": state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "KUBECONFIG": str(tmp_path / "none"),
    }
    told = [block.run(folder, environment, 120) for block in blocks("laptop")]
    nothing, refused, considered, asked, removed = told
    assert "to create" in nothing
    assert "did you mean 'shadow'" in refused
    assert "crossover:transition:Transition" in considered
    assert "COULD NOT CHECK" in asked
    assert "'tutorial' has been removed" in removed
    assert "event_bus: shadow => scale" in considered
    assert not (folder / "Pulumi.tutorial.yaml").exists()
