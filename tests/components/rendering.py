"""Runs the whole Pulumi program against mocks, and gives what it registered as plain manifests.

In a process of its own: the SDK's mocks leave event loops unclosed behind them, and here warnings are errors.
"""

from __future__ import annotations

import base64
import fcntl
import functools
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.stages import Stage
from tests.conftest import SHARED

MOVABLE = ("event_bus", "database", "llm_service")
PROGRAM = Path(__file__).resolve().parents[2] / "__main__.py"


@dataclass(frozen=True, slots=True)
class Registered:
    """One resource as it was registered. `manifest` has secrets in the clear; `secrets` are their values."""

    type: str
    name: str
    manifest: dict[str, Any]
    secrets: frozenset[str]
    open_text: str
    """All that is not secret, as JSON."""
    depends_on: frozenset[str]
    """type::name of each dependency."""
    protect: bool
    ignored: tuple[str, ...]
    secret_outputs: frozenset[str]
    """Outputs that are secret whatever the provider says of them."""
    version: str
    """Of the provider's plugin."""
    retained: bool
    """Whether it stays in the cluster when the program makes it no more."""
    provider: str
    """The reference of the provider that makes it."""

    @property
    def kind(self) -> str:
        """The last part of the type token."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def key(self) -> str:
        """type::name."""
        return f"{self.type}::{self.name}"


@dataclass(slots=True)
class Program:
    """All that one run registered, and its exports."""

    resources: list[Registered] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of(self, *kinds: str) -> Iterator[Registered]:
        """The resources of some kinds."""
        return (r for r in self.resources if r.kind in kinds)

    def one(self, kind: str, name: str) -> Registered:
        """The resource of that kind and name."""
        (found,) = (r for r in self.of(kind) if r.name == name)
        return found

    def names(self, kind: str) -> set[str]:
        """The names of the resources of a kind."""
        return {r.name for r in self.of(kind)}


def password(name: str) -> str:
    """The password that the mocks give to the resource `name`."""
    return f"PW{name.replace('-', '')}".ljust(32, "x")


def render_all(configs: list[dict[str, Any]], stack: str = "local") -> list[Program]:
    """The program under each of `configs` (key without project -> value)."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.components.mocked"],
        cwd=PROGRAM.parent,
        input=pickle.dumps((configs, stack)),
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    found: list[Program] = pickle.loads(done.stdout)  # noqa: S301 - from our own process
    return found


def render(config: dict[str, Any], stack: str = "local") -> Program:
    """The program under `config`."""
    return render_all([config], stack)[0]


@functools.cache
def _stages() -> dict[Stage, Program]:
    """Rendered once a test run: it takes seconds, and each worker needs it to name its tests."""
    kept = Path(os.environ[SHARED]) / "stages"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            programs = render_all([{name: {"stage": stage.value} for name in MOVABLE} for stage in Stage])
            kept.write_bytes(pickle.dumps(dict(zip(Stage, programs, strict=True))))
        found: dict[Stage, Program] = pickle.loads(kept.read_bytes())  # noqa: S301 - from our own process
        return found


def at(stage: Stage) -> Program:
    """The program with all that can move at `stage`, all else at its defaults."""
    return _stages()[stage]


def decoded(secret: Registered) -> dict[str, str]:
    """The content of a Secret."""
    return {key: base64.b64decode(value).decode() for key, value in secret.manifest["data"].items()}


WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob")


def template(workload: Registered) -> dict[str, Any]:
    """The pod template of a workload."""
    spec = workload.manifest["spec"]
    found: dict[str, Any] = (spec["jobTemplate"]["spec"] if workload.kind == "CronJob" else spec)["template"]
    return found
