"""Runs the user acceptance tests with pytest, in a process of their own, and reads what they noted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from cli.errors import CliError
from cli.uat.model import Expectation

TESTS = "tests/integration/user_acceptance"
ENV_TARGET = "CROSSOVER_UAT_TARGET"
"""JSON: `urls` by service, and `context` and `namespace` for those that are asked through the API server."""
ENV_BEFORE = "CROSSOVER_UAT_BEFORE"
"""The file of an earlier report, which is JSON."""
ENV_QUIET = "CROSSOVER_UAT_QUIET"
"""Set where the market is closed."""
ENV_RECORD = "CROSSOVER_UAT_RECORD"
"""The file that gets what came of each expectation."""
_DONE = {0, 1}
"""pytest: all passed, or some failed. Anything else is no answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked. `urls`: addresses by service; the others through the API server of `context`."""

    urls: Mapping[str, str]
    context: str | None
    namespace: str


def run(
    root: Path, target: Target, before: Path | None, *, quiet: bool, output: IO[str] | None
) -> tuple[tuple[Expectation, ...], dict[str, Any]]:
    """What came of each expectation, and what was seen. `output`: where pytest writes. Raises CliError."""
    if find_spec("pytest") is None:
        raise CliError("pytest is not installed here", ".venv/bin/pip install --require-hashes -r requirements-dev.txt")
    with tempfile.TemporaryDirectory(prefix="crossover-uat-") as folder:
        record = Path(folder) / "record.json"
        environment = os.environ | {
            ENV_TARGET: json.dumps(
                {"urls": dict(target.urls), "context": target.context, "namespace": target.namespace}
            ),
            ENV_RECORD: str(record),
            **({ENV_BEFORE: str(before.absolute())} if before is not None else {}),
            **({ENV_QUIET: "1"} if quiet else {}),
        }
        # What a library warns of is no matter of who accepts a migration.
        command = [
            sys.executable,
            "-m",
            "pytest",
            TESTS,
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-W",
            "ignore",
        ]
        done = subprocess.run(command, cwd=root, env=environment, stdout=output, stderr=output, check=False)
        if done.returncode not in _DONE or not record.exists():
            raise CliError(
                f"the tests in {TESTS} could not be run: pytest ended with {done.returncode}",
                f"python -m pytest {TESTS} says why",
            )
        found = json.loads(record.read_text())
    return tuple(Expectation.model_validate(one) for one in found["found"]), found["seen"]
