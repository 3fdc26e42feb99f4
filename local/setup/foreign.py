"""A cluster of the user's own: its kubeconfig, and its images where it is a kind or k3d cluster on this machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from local.cluster.configuration import write_private
from local.setup.errors import SetupError
from local.setup.progress import console, step


def kubectl() -> Path | None:
    """The user's own kubectl."""
    found = shutil.which("kubectl")
    return Path(found).resolve() if found else None


def load_command(context: str, file: Path) -> list[str] | None:
    """How an image archive gets into the cluster of this context; None where only a registry helps."""
    if context.startswith("kind-"):
        return ["kind", "load", "image-archive", str(file), "--name", context.removeprefix("kind-")]
    if context.startswith("k3d-"):
        return ["k3d", "image", "import", str(file), "--cluster", context.removeprefix("k3d-")]
    return None


def adopt(context: str, target: Path) -> None:
    """Write that context's kubeconfig, alone and whole, to `target`, mode 0600. Raises SetupError."""
    program = kubectl()
    if program is None:
        raise SetupError(f"no kubectl on PATH, so the context {context!r} cannot be read: install kubectl")
    write_private(target, _config(program, context))


def load(context: str, files: Sequence[Path]) -> None:
    """Load image archives into that context's cluster, where it is one of this machine. Raises SetupError."""
    if load_command(context, Path()) is None:
        console.print(
            f"  {context} is neither kind's nor k3d's: push the images to a registry that it reads, and name that with "
            "`pulumi config set --path crossover:images.registry ...` (docs/deployment.md)",
            soft_wrap=True,
        )
        return
    for file in files:
        command = load_command(context, file) or []
        if shutil.which(command[0]) is None:
            raise SetupError(f"there is no `{command[0]}` on PATH, so images cannot be loaded into {context}")
        with step(f"loading {file.name} into {context}"):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SetupError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-600:]}")


def _config(program: Path, context: str) -> str:
    command = [str(program), "config", "view", "--minify", "--flatten", f"--context={context}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or "server:" not in done.stdout:
        raise SetupError(
            f"the context {context!r} is not in your kubeconfig ({done.stderr.strip()}): see "
            "`kubectl config get-contexts`, or unset CROSSOVER_KUBE_CONTEXT for the local cluster"
        )
    return done.stdout
