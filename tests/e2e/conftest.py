"""Fixtures of the tests of the whole: the stack on the cluster, made if need be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.stages import Component, Stage
from tests.e2e.journey import Stack

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def stack(cluster: Path) -> Stack:
    """The stack `local`, up at the stage where it was left, or at mvp."""
    if not (ROOT / ".crossover" / "env").exists() or shutil.which("pulumi") is None:
        subprocess.run([sys.executable, "-m", "local.setup"], cwd=ROOT, check=True)
    found = Stack(ROOT)
    for component in (Component.EVENT_BUS, Component.DATABASE, Component.BACKTESTING):
        # A switch is made some twenty times; what is watched after it is the same in three seconds as in ten.
        found.pulumi.set(f"crossover:{component.value}.watch_seconds", "3")
    if found.pulumi.stage("event_bus") is None:
        found.ask_for(Stage.MVP)
    found.pulumi.up()
    return found


@pytest.fixture(scope="module")
def backtests(stack: Stack) -> Stack:
    """The stack, seen from backtests, at mvp."""
    found = stack.of(Component.BACKTESTING)
    if found.route()[0].stage is not Stage.MVP:
        found.bring_to(Stage.MVP)
    return found
