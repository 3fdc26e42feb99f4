"""`pulumi preview` with nothing to do, on the local stack, against a bare program with as many resources.

The bare program is one file that declares ConfigMaps in a namespace of its own with the same provider, toolchain
and backend. It is brought up first and taken down in the end. Needs `make up` and a stack that is up.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.frame import Figure, ratios, spread, take_turns
from local.demo.commands import STACK, CommandFailed, Pulumi, load_environment

ROUNDS = 5
LIMIT, AIM = 1.1, 1.05
_ROOT = Path(__file__).resolve().parents[1]
_CONTEXT = "crossover-local"
_NAMESPACE = "bench-preview"
_PROGRAM = f'''"""As many resources as the program that is measured, and nothing around them."""

import pulumi
import pulumi_kubernetes as kubernetes

provider = kubernetes.Provider("cluster", context="{_CONTEXT}")
opts = pulumi.ResourceOptions(provider=provider)
namespace = kubernetes.core.v1.Namespace("namespace", metadata={{"name": "{_NAMESPACE}"}}, opts=opts)
for number in range(pulumi.Config().require_int("count")):
    kubernetes.core.v1.ConfigMap(
        f"map-{{number}}",
        metadata={{"name": f"map-{{number}}", "namespace": namespace.metadata.name}},
        data={{"number": str(number)}},
        opts=opts,
    )
'''
_NOT_COUNTED = 3
"""Resources of the bare program that are no ConfigMaps: stack, provider, namespace."""


class _Bare:
    """The bare program, in `folder`, with its stack in the backend of `env`."""

    def __init__(self, program: str, folder: Path, env: Mapping[str, str]) -> None:
        self._program = program
        self.folder = folder
        self._env = env

    def write(self) -> None:
        """Lay the program down; it runs by the interpreter of this repository."""
        options = {"toolchain": "pip", "virtualenv": str(_ROOT / ".venv")}
        project = {"name": "crossover-bench", "runtime": {"name": "python", "options": options}}
        (self.folder / "Pulumi.yaml").write_text(json.dumps(project))  # JSON is YAML
        (self.folder / "__main__.py").write_text(_PROGRAM)

    def run(self, *arguments: str) -> str:
        """`pulumi` in its folder. Raises CommandFailed."""
        command = [self._program, *arguments, "--non-interactive"]
        done = subprocess.run(
            command, cwd=self.folder, env=dict(self._env), text=True, capture_output=True, check=False
        )
        if done.returncode:
            raise CommandFailed(command, done.returncode, done.stdout + done.stderr)
        return done.stdout


@contextlib.contextmanager
def _brought_up(program: str, env: Mapping[str, str], count: int) -> Iterator[_Bare]:
    with tempfile.TemporaryDirectory(prefix="crossover-bench-") as folder:
        bare = _Bare(program, Path(folder), env)
        bare.write()
        bare.run("stack", "init", STACK)
        try:
            bare.run("config", "set", "count", str(count))
            bare.run("up", "--yes", "--skip-preview", "--stack", STACK)
            yield bare
        finally:
            bare.run("destroy", "--yes", "--skip-preview", "--stack", STACK)
            bare.run("stack", "rm", "--yes", STACK)


def _count(program: str, env: Mapping[str, str]) -> int:
    """How many resources the local stack has. Raises CommandFailed."""
    command = [program, "stack", "export", "--stack", STACK, "--non-interactive"]
    done = subprocess.run(command, cwd=_ROOT, env=dict(env), text=True, capture_output=True, check=False)
    if done.returncode:
        raise CommandFailed(command, done.returncode, done.stderr)
    count = len(json.loads(done.stdout)["deployment"].get("resources") or ())
    if not count:
        raise CommandFailed(command, 0, "the stack holds no resources: `pulumi up` first")
    return count


def _preview(program: str, env: Mapping[str, str], folder: Path) -> float:
    """Seconds of one preview. Raises CommandFailed where it would change anything."""
    command = [program, "preview", "--expect-no-changes", "--stack", STACK, "--non-interactive"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=dict(env), text=True, capture_output=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise CommandFailed(command, done.returncode, done.stdout + done.stderr)
    return seconds


def run(_: Sequence[str] = ()) -> list[Figure]:
    """The ratio of the two."""
    env = load_environment(_ROOT)
    program = Pulumi(_ROOT, env, lambda _: None).program
    count = _count(program, env)
    with _brought_up(program, env, count - _NOT_COUNTED) as bare:
        rounds = take_turns(
            ROUNDS,
            {
                "ours": partial(_preview, program, env, _ROOT),
                "bare": partial(_preview, program, env, bare.folder),
            },
        )
    ratio, ours = ratios(rounds["ours"], rounds["bare"]), spread(rounds["ours"])
    return [
        Figure(
            figure="preview_ratio", value=ratio.median, unit="x", limit=LIMIT, aim=AIM, at_most=True,
            how=f"`pulumi preview` with nothing to do, {count} resources on both sides, by turns; {ratio.text}; "
            f"{ours.median:.1f} s",
        )
    ]  # fmt: skip
