"""Fixtures of the cluster tests: a running cluster, made if need be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def cluster() -> Path:
    """The kubeconfig of a running cluster: the one that KUBECONFIG names, or the local one, brought up."""
    given = os.environ.get("KUBECONFIG")
    if given:
        return Path(given)
    subprocess.run([sys.executable, "-m", "local.cluster", "up"], cwd=ROOT, check=True)
    found = ROOT / ".crossover" / "kubeconfig"
    os.environ["KUBECONFIG"] = str(found)
    return found
