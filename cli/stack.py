"""Stack config and updates, through the plain `pulumi` command: this tool has no other way to change anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cli.declared import PROJECT, declared, emergencies, file_of, wanted_stages
from cli.errors import CliError
from contracts.stages import Component, Stage

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_STACK = "local"


@dataclass(frozen=True, slots=True)
class Wish:
    """What config shall ask for of a component."""

    stage: Stage
    emergency: bool = False


class Stack:
    """One stack of the project. Commands run in the project's folder with the caller's environment."""

    def __init__(
        self,
        name: str,
        root: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        output: IO[str] | None = None,
        changed: Callable[[Component, Stage, Wish], None] | None = None,
    ) -> None:
        """`output`: where what Pulumi says goes; None: where this process's own goes. `changed` is told of each
        component what config asked for before, and what it asks for now."""
        self.name = name
        self._changed = changed
        self._output = output
        self._root = root
        self._environment = dict(os.environ if environment is None else environment)

    def config(self, file: Path | None = None) -> dict[str, Any]:
        """What stack config says, by key; secrets are not in it. Raises CliError where it cannot be read."""
        where = () if file is None else ("--config-file", str(file))
        return plain(self._read("config", "--json", *where), lambda: declared(self._root, self.name, file))

    def wanted(self) -> dict[Component, Stage]:
        """The stage that stack config asks for, by component; mvp where it says nothing.

        Raises CliError where the config cannot be read or names an unknown stage.
        """
        return wanted_stages(self.config(), file_of(self.name))

    def ask_for(self, wishes: Mapping[Component, Wish]) -> None:
        """Write what is wanted to the stack's config file. Nothing else changes until an update runs."""
        before = self._write(wishes, None)
        if self._changed is not None:
            for component, wish in wishes.items():
                self._changed(component, before[component], wish)

    def note(self, key: str, values: Mapping[str, str]) -> None:
        """Have config say `values`, by path below `key`, and nothing else there. Nothing of the stack changes."""
        if key in self.config():
            self._read("config", "rm", f"{PROJECT}:{key}")
        pairs = [f"{PROJECT}:{key}.{path}={value}" for path, value in values.items()]
        self._read("config", "set-all", "--path", *(word for pair in pairs for word in ("--plaintext", pair)))

    def preview(self, wishes: Mapping[Component, Wish]) -> int:
        """`pulumi preview` as if config asked for that, from a copy: the stack's own file stays as it is."""
        own = self._root / file_of(self.name)
        with tempfile.TemporaryDirectory(prefix="crossover-preview-") as folder:
            copy = Path(folder) / own.name
            shutil.copyfile(own, copy)
            self._write(wishes, copy)
            return self._show("preview", "--config-file", str(copy))

    def up(self, *, go_on: bool = False) -> int:
        """`pulumi up`, its output passed on. Returns its exit status. `go_on`: what fails keeps nothing else from being
        done."""
        return self._show("up", "--yes", "--skip-preview", *(("--continue-on-error",) if go_on else ()))

    def command(self, *arguments: str) -> list[str]:
        """The command line of a pulumi command on this stack."""
        program = shutil.which("pulumi", path=self._environment.get("PATH"))
        if program is None:
            raise CliError("there is no `pulumi` on PATH", "run `make setup`, then `. .crossover/env`")
        return [program, *arguments, "--stack", self.name, "--non-interactive"]

    def _write(self, wishes: Mapping[Component, Wish], file: Path | None) -> dict[Component, Stage]:
        """Have config ask for `wishes`; what it asked for before."""
        where = () if file is None else ("--config-file", str(file))
        config = self.config(file)
        told, before = emergencies(config), wanted_stages(config, file_of(self.name))
        for component, wish in wishes.items():
            for arguments in changes(component, wish.stage, emergency=wish.emergency, declared=component in told):
                self._read(*arguments, *where)
        return before

    def _show(self, *arguments: str) -> int:
        return subprocess.run(
            self.command(*arguments), cwd=self._root, env=self._environment, check=False, stdout=self._output
        ).returncode

    def _read(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self._root,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise CliError(
                f"pulumi {_words(arguments)} on stack {self.name} failed: {done.stderr.strip()}",
                "check that the stack exists (pulumi stack ls) and that `. .crossover/env` was run",
            )
        return done.stdout


def _words(arguments: Sequence[str]) -> str:
    return " ".join(arguments[:2])


def changes(component: Component, stage: Stage, *, emergency: bool, declared: bool) -> list[tuple[str, ...]]:
    """The pulumi commands that make config ask for `stage`, in an `emergency` or not; `declared`: config says now that
    there is one. The file is read by an update only once all of them have run."""
    key = f"{PROJECT}:{component.value}"
    to_stage = ("config", "set", "--path", f"{key}.stage", stage.value)
    if emergency:
        return [to_stage, ("config", "set", "--path", f"{key}.emergency", "true")]
    return [to_stage, ("config", "rm", "--path", f"{key}.emergency")] if declared else [to_stage]


def plain(config_json: str, from_file: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """By key, without the project, what `pulumi config --json` says. It leaves out an object that has a secret in it as
    a whole, though its stage is none: that is taken `from_file`."""
    prefix, found = f"{PROJECT}:", dict[str, Any]()
    for key, given in json.loads(config_json).items():
        name = key.removeprefix(prefix)
        if not key.startswith(prefix):
            continue
        if "objectValue" in given:
            found[name] = given["objectValue"]
        elif "value" in given:
            found[name] = _decoded(given["value"])
        elif (own := from_file()).get(name) is not None:
            found[name] = own[name]
    return found


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
