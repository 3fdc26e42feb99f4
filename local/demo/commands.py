"""Runs the plain command line tools as a user would: `pulumi` and `kubectl`, found through .crossover/env."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

STACK: Final = "local"
CANCEL_SECONDS: Final = 90.0
"""How long an interrupted `pulumi` may take to end in order."""


class CommandFailed(RuntimeError):
    """A command that failed: what was run, its exit status, and the last lines that it said."""

    def __init__(self, command: Sequence[str], status: int, output: str) -> None:
        tail = "\n".join(output.strip().splitlines()[-15:])
        super().__init__(f"`{' '.join(command)}` ended with {status}:\n{tail}")
        self.status = status
        self.output = output


def load_environment(root: Path) -> dict[str, str]:
    """The environment after sourcing .crossover/env. Raises CommandFailed."""
    file = root / ".crossover" / "env"
    command = ["sh", "-c", '. "$1" && env -0', "sh", str(file)]
    done = subprocess.run(command, capture_output=True, cwd=root, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace") + "\nRun `make up` first: it writes this file."
        raise CommandFailed(["sh", "-c", f". {file}"], done.returncode, said)
    entries = done.stdout.decode().split("\0")
    return {name: value for name, _, value in (entry.partition("=") for entry in entries) if name}


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended well. Times in ns since 1970 UTC."""

    started: int
    ended: int
    output: str

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended - self.started) / 1e9


def stream(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], line: Callable[[str], None], stdin: str | None = None
) -> Finished:
    """Run `command`, handing on each line of its output. An interrupt is left to the command, which got it
    too, and is raised once it has ended. Raises CommandFailed."""
    started = time.time_ns()
    process = subprocess.Popen(
        list(command), cwd=cwd, env=dict(env), text=True, errors="replace",
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines: list[str] = []
    try:
        if process.stdin is not None and stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        for text in process.stdout or ():
            lines.append(text)
            line(text.rstrip("\n"))
        status = process.wait()
    except BaseException:
        _let_end(process)
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    output = "".join(lines)
    if status:
        raise CommandFailed(command, status, output)
    return Finished(started, time.time_ns(), output)


def _let_end(process: subprocess.Popen[str]) -> None:
    """Wait for a command that was interrupted; a second interrupt, or the deadline, ends it."""
    try:
        process.communicate(timeout=CANCEL_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.terminate()
        process.wait(10)


class Pulumi:
    """The plain `pulumi` CLI on the stack `local`."""

    def __init__(self, root: Path, env: Mapping[str, str], line: Callable[[str], None]) -> None:
        self._root = root
        self._env = env
        self._line = line
        program = shutil.which("pulumi", path=env.get("PATH"))
        if program is None:
            raise CommandFailed(["pulumi"], 127, "pulumi is not on the PATH of .crossover/env. Run `make up`")
        self.program = program

    def stage(self, component: str) -> str | None:
        """The stage in stack config; None where it is not set."""
        found = self._quiet("config", "get", "--path", f"crossover:{component}.stage", "--stack", STACK, check=False)
        return found.stdout.strip() or None if found.returncode == 0 else None

    def set_stage(self, component: str, stage: str) -> None:
        """`pulumi config set`: the one thing a user does to move a component."""
        self.set(f"crossover:{component}.stage", stage)

    def set(self, path: str, value: str) -> None:
        """`pulumi config set --path`. No secrets: others can read arguments."""
        self._line(f"$ pulumi config set --path {path} {value}")
        self._quiet("config", "set", "--path", path, value, "--stack", STACK)

    def unset(self, path: str) -> None:
        """`pulumi config rm --path`; nothing where it is not set."""
        self._line(f"$ pulumi config rm --path {path}")
        self._quiet("config", "rm", "--path", path, "--stack", STACK)

    def preview(self) -> Finished:
        """`pulumi preview`."""
        return self._loud("preview", "--diff")

    def up(self) -> Finished:
        """`pulumi up`. Raises CommandFailed with its output, and the verdict in it."""
        return self._loud("up", "--yes", "--skip-preview")

    def _loud(self, *arguments: str) -> Finished:
        command = [self.program, *arguments, "--stack", STACK, "--non-interactive", "--color", "never"]
        self._line(f"$ pulumi {' '.join(arguments)}")
        return stream(command, cwd=self._root, env=self._env, line=self._line)

    def _quiet(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [self.program, *arguments, "--non-interactive"]
        done = subprocess.run(command, cwd=self._root, env=dict(self._env), text=True, capture_output=True, check=False)
        if check and done.returncode:
            raise CommandFailed(["pulumi", *arguments], done.returncode, done.stderr)
        return done


class Kubectl:
    """`kubectl` in one namespace."""

    def __init__(self, env: Mapping[str, str], namespace: str) -> None:
        self._env = env
        program = shutil.which("kubectl", path=env.get("PATH")) or shutil.which("kubectl")
        if program is None:
            raise CommandFailed(["kubectl"], 127, "kubectl is not on the PATH of .crossover/env. Run `make up`")
        self._base = [program, "--namespace", namespace]

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 60.0, check: bool = True) -> str:
        """Its standard output. Raises CommandFailed where `check`, with its standard error."""
        done = self._done(arguments, stdin, timeout)
        if check and done.returncode:
            raise CommandFailed(["kubectl", *arguments], done.returncode, done.stderr or done.stdout)
        return done.stdout

    def json_line(self, *arguments: str, timeout: float) -> str:
        """The line of JSON that it prints, whatever its exit status says of it. Raises CommandFailed where there is
        none, with its standard error."""
        done = self._done(arguments, None, timeout)
        found = next((line for line in done.stdout.splitlines() if line.startswith("{")), None)
        if found is None:
            raise CommandFailed(["kubectl", *arguments], done.returncode, done.stderr or done.stdout)
        return found

    def _done(self, arguments: tuple[str, ...], stdin: str | None, timeout: float) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*self._base, *arguments], env=dict(self._env), input=stdin, text=True, capture_output=True,
                timeout=timeout, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(["kubectl", *arguments], 124, f"no answer within {timeout:g} s") from error

    def get(self, *arguments: str) -> Any | None:
        """`kubectl get -o json`; None where there is no such thing."""
        text = self.run("get", "--ignore-not-found", "-o", "json", *arguments)
        return json.loads(text) if text.strip() else None

    def apply(self, manifest: Mapping[str, Any]) -> None:
        """`kubectl apply`."""
        self.run("apply", "-f", "-", stdin=json.dumps(manifest))
