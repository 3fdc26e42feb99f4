"""The real Pulumi CLI on a project of a test's own, with state in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.pulumi_plugins.install import default_python, install
from local.setup import pulumi_cli

ROOT = Path(__file__).parents[2]
PASSPHRASE = "a passphrase of these tests"
COMMAND_SECONDS = 120.0
STACK = "test"


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A CLI whose plugins are the stand-ins: its folder, and its PULUMI_HOME."""

    binaries: Path
    home: Path


def install_toolchain(folder: Path) -> Toolchain:
    """The CLI that set-up would use, with the stand-ins even where the official plugins can be had."""
    pulumi = pulumi_cli.find(ROOT / ".crossover" / "bin").program
    installed = install(pulumi, folder / "home", folder / "bin", default_python(), official=False)
    assert set(installed.origins.values()) == {"stand-in"}
    return Toolchain(folder / "bin", folder / "home")


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended. `output`: what it wrote to stdout and stderr, in order."""

    status: int
    output: str

    def counts(self) -> dict[str, int]:
        """The figures below "Resources:", such as {"created": 2, "unchanged": 1}."""
        block = self.output.partition("Resources:\n")[2].partition("\n\n")[0]
        found = re.findall(r"(\d+) (?:to )?(\w+)", block)
        return {what: int(number) for number, what in found if what not in {"change", "changes"}}


class Running:
    """A command that runs; its output goes to a file, so it never waits for a reader."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._output = folder / "output.log"
        with self._output.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def output(self) -> str:
        """What it has written until now."""
        return self._output.read_text(errors="replace")

    def wait_for(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        """Returns once `holds()` does; fails where the command ends before, or the time does."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert self._process.poll() is None, f"the command ended first:\n{self.output()}"
            assert time.monotonic() < deadline, f"it never happened:\n{self.output()}"
            time.sleep(0.05)  # between two looks

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Ends it where a failed test has left it running."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def end(self, seconds: float = COMMAND_SECONDS) -> Result:
        """Waits for its end."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            raise AssertionError(f"the command did not end within {seconds:.0f} s:\n{self.output()}") from error
        return Result(status, self.output())


class Project:
    """One Pulumi project with one stack. `write` sets its program, the methods run commands."""

    def __init__(self, folder: Path, toolchain: Toolchain, extra: Mapping[str, str] | None = None) -> None:
        self.folder = folder / "project"
        self.state = folder / "state"
        self.folder.mkdir(parents=True)
        self.state.mkdir()
        self._pulumi = toolchain.binaries / "pulumi"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "KUBE"))},
            "PATH": f"{toolchain.binaries}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_HOME": str(toolchain.home),
            "PULUMI_BACKEND_URL": self.state.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            **(extra or {}),
        }
        (self.folder / ".venv").symlink_to(sys.prefix)
        options = "runtime:\n  name: python\n  options:\n    virtualenv: .venv\n"
        (self.folder / "Pulumi.yaml").write_text(f"name: plugins\n{options}")
        self.run("stack", "init", STACK)

    def close(self) -> None:
        """Ends a command that still runs."""
        self._last.close()

    def write(self, program: str) -> None:
        """Makes `program` the project's program."""
        (self.folder / "__main__.py").write_text(textwrap.dedent(program))

    def begin(self, *arguments: str) -> Running:
        """Starts a command."""
        command = [str(self._pulumi), *arguments, "--non-interactive", "--color", "never"]
        self._last = Running(command, self.folder, self.environment)
        return self._last

    def run(self, *arguments: str, status: int | None = 0) -> Result:
        """Runs a command that must end with `status`; None allows any."""
        result = self.begin(*arguments).end()
        assert status is None or (result.status != 0) == (status != 0), result.output
        return result

    def up(self, *, status: int | None = 0) -> Result:
        """`pulumi up`."""
        return self.run("up", "--yes", "--skip-preview", status=status)

    def begin_up(self) -> Running:
        """Starts `pulumi up`."""
        return self.begin("up", "--yes", "--skip-preview")

    def preview(self, *arguments: str) -> Result:
        """`pulumi preview`."""
        return self.run("preview", *arguments)

    def refresh(self) -> Result:
        """`pulumi refresh`."""
        return self.run("refresh", "--yes", "--skip-preview")

    def destroy(self) -> Result:
        """`pulumi destroy`."""
        return self.run("destroy", "--yes", "--skip-preview")

    def set(self, key: str, value: str, *, secret: bool = False) -> None:
        """`pulumi config set`."""
        self.run("config", "set", key, value, *(["--secret"] if secret else []))

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets shown."""
        found: dict[str, Any] = json.loads(self.run("stack", "output", "--json", "--show-secrets").output)
        return found

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The resources in state whose type token ends with `kind`, secrets encrypted."""
        exported = json.loads(self.run("stack", "export").output)
        return [item for item in exported["deployment"].get("resources", []) if item["type"].endswith(kind)]

    def written(self) -> str:
        """Everything that Pulumi's backend has written, history and backups included."""
        return "\n".join(path.read_text(errors="replace") for path in self.state.rglob("*") if path.is_file())
