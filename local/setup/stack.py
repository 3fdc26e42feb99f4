"""Pulumi's home, its state on this disk, the passphrase of its secrets, and the file to source."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.cluster.api import KUBECTL_CACHE, cache_beside
from local.cluster.configuration import write_private
from local.setup.errors import SetupError
from local.setup.progress import console, step

STACK = "local"
PASSPHRASE_BYTES = 32


@dataclass(frozen=True, slots=True)
class PulumiPaths:
    """Where Pulumi's things of one clone lie, all below its .crossover."""

    root: Path

    @property
    def local(self) -> Path:
        """The clone's local state."""
        return self.root / ".crossover"

    @property
    def bin(self) -> Path:
        """`pulumi`, its language host and `kubectl`: first on the PATH of `env`."""
        return self.local / "bin"

    @property
    def home(self) -> Path:
        """PULUMI_HOME: plugins and settings, apart from the user's own."""
        return self.local / "pulumi"

    @property
    def state(self) -> Path:
        """The file backend: the stacks' state, secrets in it encrypted."""
        return self.local / "state"

    @property
    def passphrase(self) -> Path:
        """What the secrets in state are encrypted with; mode 0600. Lost, they cannot be read again."""
        return self.local / "passphrase"

    @property
    def env(self) -> Path:
        """A sh file: `. .crossover/env` gives a shell what `pulumi` and `kubectl` need."""
        return self.local / "env"


def variables(paths: PulumiPaths, kubeconfig: Path, context: str | None) -> dict[str, str]:
    """What `env` exports, PATH aside. `context`: a cluster of the user's own."""
    found = {
        "PULUMI_HOME": str(paths.home),
        # Without files of attributes beside the state: one that a killed `pulumi up` left half written locks it out.
        "PULUMI_BACKEND_URL": f"file://{paths.state}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(paths.passphrase),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "KUBECONFIG": str(kubeconfig),
    }
    if context is None:
        return found | {KUBECTL_CACHE: str(cache_beside(kubeconfig))}
    return found | {"CROSSOVER_KUBE_CONTEXT": context}


def render_env(paths: PulumiPaths, values: Mapping[str, str]) -> str:
    """The text of `env`. Sourcing it twice does not lengthen PATH."""
    folders = f"{paths.bin}:{paths.root / '.venv' / 'bin'}"
    there = f'case ":$PATH:" in *{shlex.quote(f":{folders}:")}*)'
    lines = [
        "# Made by `make setup`. Source it: . .crossover/env",
        f"{there} ;; *) PATH={shlex.quote(folders)}:$PATH; export PATH ;; esac",
        # A passphrase in the environment would be taken before the file.
        "unset PULUMI_CONFIG_PASSPHRASE",
        *(f"export {name}={shlex.quote(value)}" for name, value in values.items()),
    ]
    return "\n".join(lines) + "\n"


def write_env(paths: PulumiPaths, values: Mapping[str, str]) -> None:
    """Write `env` and, where there is none, a fresh passphrase."""
    paths.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not paths.passphrase.exists():
        write_private(paths.passphrase, secrets.token_urlsafe(PASSPHRASE_BYTES) + "\n")
        _forget_salt(paths.root / f"Pulumi.{STACK}.yaml")
    write_private(paths.env, render_env(paths, values))


def without_salt(text: str) -> str:
    """A stack's config without the salt of a passphrase that this clone does not have."""
    return re.sub(r"^encryptionsalt:.*\n?", "", text, flags=re.MULTILINE)


def _forget_salt(file: Path) -> None:
    if not file.exists():
        return
    text = file.read_text()
    if "secure:" in text:
        raise SetupError(f"{file.name} holds secrets of another clone's passphrase, which this clone lacks: copy that "
                         "clone's .crossover/passphrase here, or remove the `secure:` values")  # fmt: skip
    if without_salt(text) != text:
        file.write_text(without_salt(text))


def install_plugins(pulumi: Path, paths: PulumiPaths) -> str:
    """Put the plugins in place, official or stand-in; what it says, a line each. Raises SetupError."""
    command = [sys.executable, "-m", "local.pulumi_plugins", "install", "--pulumi", str(pulumi)]
    command += ["--home", str(paths.home), "--bin", str(paths.bin)]
    with step("Pulumi's plugins"):
        done = subprocess.run(command, cwd=paths.root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(f"Pulumi's plugins cannot be installed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def link(target: Path, name: Path) -> None:
    """Make `name` a link to `target`, whole at every moment."""
    name.parent.mkdir(parents=True, exist_ok=True)
    if name.is_symlink() and name.readlink() == target:
        return
    partial = name.with_name(name.name + ".new")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(name)


def write_command(paths: PulumiPaths) -> None:
    """Put `crossover` beside `pulumi`, so that it runs from any folder."""
    python = shlex.quote(str(paths.root / ".venv" / "bin" / "python"))
    file = paths.bin / "crossover"
    partial = file.with_name(file.name + ".new")
    partial.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(paths.root))} exec {python} -m cli "$@"\n')
    partial.chmod(0o755)
    partial.replace(file)


def _pulumi(paths: PulumiPaths, values: Mapping[str, str], *arguments: str) -> str:
    environment = {**os.environ, **values, "PATH": f"{paths.bin}:{os.environ.get('PATH', '')}"}
    environment.pop("PULUMI_CONFIG_PASSPHRASE", None)
    done = subprocess.run(
        [str(paths.bin / "pulumi"), *arguments, "--non-interactive"],
        cwd=paths.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SetupError(f"`pulumi {' '.join(arguments)}` failed: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def _find_stack(paths: PulumiPaths, values: Mapping[str, str]) -> dict[str, object] | None:
    stacks: list[dict[str, object]] = json.loads(_pulumi(paths, values, "stack", "ls", "--json"))
    return next((stack for stack in stacks if str(stack["name"]).rpartition("/")[2] == STACK), None)


def select_stack(paths: PulumiPaths, values: Mapping[str, str]) -> None:
    """Make the stack `local` where there is none, and select it. Raises SetupError with Pulumi's words."""
    with step("the stack `local`"):
        mine = _find_stack(paths, values)
        if mine is None:
            _pulumi(paths, values, "stack", "init", STACK)
            console.print(f"  made the stack `{STACK}`; its state is in {paths.state}", soft_wrap=True)
        elif not mine.get("current"):
            _pulumi(paths, values, "stack", "select", STACK)


def forget(paths: PulumiPaths, values: Mapping[str, str]) -> bool:
    """Drop the state of the stack `local`, whose cluster is gone; its config stays. Returns whether there was one."""
    if not (paths.bin / "pulumi").exists() or not paths.state.exists() or _find_stack(paths, values) is None:
        return False
    _pulumi(paths, values, "stack", "rm", STACK, "--yes", "--force", "--preserve-config")
    return True
