"""The images of the backend and of the cluster's own pods, built where they changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from local.cluster.settings import ROOT
from local.setup.errors import SetupError


def archives() -> list[Path]:
    """The OCI archive of each image, built if need be; the builder shows its progress. Raises SetupError."""
    command = [sys.executable, "-m", "local.images", "build"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SetupError("the images were not built, so nothing can run: the lines above say why")
    return [Path(line) for line in done.stdout.splitlines() if line.endswith(".tar")]
