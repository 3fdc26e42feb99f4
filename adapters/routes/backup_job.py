"""The Job in which a backup is made, and what is fetched from its pod.

Its pod is made after the pattern of the database's Transition: the same image, addresses, authorities and network
rules. Beside it runs a server that is thrown away, as a sidecar: it ends with the pod, however that ends.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from adapters.routes.base import RouteError
from adapters.routes.jobs import JobFailed, KubernetesJobs, after_pattern
from contracts.backups import FOLDER, SCRATCH
from contracts.names import ANNOTATION_POSTGRES_IMAGE
from contracts.stages import Component

_MODULE = "validation.backup"
_POLL_SECONDS = 1.0
_MISSES = 10
"""So many times in a row the pod may not be found or not tell what it said."""
_RESTORING = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}


def backup_job(job: dict[str, Any], seconds: int) -> dict[str, Any]:
    """The Job after the database's Transition `job`, which ends after `seconds` at the latest. Raises JobFailed."""
    image = job["metadata"].get("annotations", {}).get(ANNOTATION_POSTGRES_IMAGE)
    if not image:
        raise JobFailed(
            "the database's Transition is of an older version and does not name the image of Postgres: a backup could "
            "not be restored, so none is made. Run pulumi up"
        )
    made = after_pattern(job, "database-backup-", ["make"])
    made["spec"]["activeDeadlineSeconds"] = seconds
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["command"] = ["python", "-m", _MODULE]
    scratch = {"name": "scratch", "mountPath": SCRATCH}
    pod["volumes"] = [*pod.get("volumes", []), *({"name": name, "emptyDir": {}} for name in ("backup", "scratch"))]
    pod["initContainers"] = [
        {
            "name": "scratch",
            "image": image,
            "imagePullPolicy": container.get("imagePullPolicy", "IfNotPresent"),
            "command": ["sh", "/usr/local/bin/scratch"],
            # A sidecar: it is started before the others, and ended with them.
            "restartPolicy": "Always",
            "resources": _RESTORING,
            "securityContext": copy.deepcopy(container.get("securityContext", {})),
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, scratch],  # noqa: S108 - the pod's own
        }
    ]
    mounts = container.get("volumeMounts", [])
    container["volumeMounts"] = [*mounts, {"name": "backup", "mountPath": FOLDER}, scratch]
    return made


class BackupJob:
    """One run. Use as a context manager: the Job goes with it."""

    def __init__(self, jobs: KubernetesJobs, context: str | None, namespace: str, seconds: int = 7200) -> None:
        self._jobs = jobs
        self._context = context
        self._namespace = namespace
        self._seconds = seconds
        self._name = ""
        self._container = ""

    def __enter__(self) -> Self:
        job = backup_job(self._jobs.transition(Component.DATABASE), self._seconds)
        self._container = job["spec"]["template"]["spec"]["containers"][0]["name"]
        self._name = self._jobs.begin(job)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._jobs.remove(self._name)

    def await_report(self, say: Callable[[str], None]) -> dict[str, Any]:
        """Wait for the line that holds the report; `say` gets what is said before it. Raises JobFailed."""
        deadline, told, misses = time.monotonic() + self._seconds, 0, 0
        while time.monotonic() < deadline:
            try:
                phase, output = self._jobs.said(self._name, self._container)
                misses = 0
            except RouteError:
                misses += 1
                if misses > _MISSES:
                    raise
                phase, output = "", ""
            lines = output.splitlines()
            # The last line may not be whole yet, but where the pod is over.
            whole = lines if phase in ("Succeeded", "Failed") or output.endswith("\n") else lines[:-1]
            for line in whole[told:]:
                if (report := _report(line)) is not None:
                    return report
                say(line)
            told = max(told, len(whole))
            if phase in ("Succeeded", "Failed"):
                raise JobFailed(f"the backup's pod {phase.lower()} without a report; what it said stands above")
            time.sleep(_POLL_SECONDS)  # polling with a deadline
        raise JobFailed(f"the backup was not made within {self._seconds} s")

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file of the pod. Whether it came whole is seen by its sum. Raises JobFailed."""
        with target.open("wb") as file:
            self._exec(["cat", path], file=file.fileno())

    def seal(self, plain: bytes, passphrase: str) -> bytes:
        """`plain`, sealed in the pod: both go there by its standard input. Raises JobFailed."""
        said = self._exec(["python", "-m", _MODULE, "seal"], given=passphrase.encode() + b"\n" + plain)
        digest, _, sealed = said.partition(b"\n")
        if hashlib.sha256(sealed).hexdigest().encode() != digest:
            raise JobFailed("what was sealed in the backup's pod came incomplete: try again")
        return sealed

    def mark(self, path: str) -> None:
        """Make an empty file in the pod. Raises JobFailed."""
        self._exec(["sh", "-c", 'exec > "$0"', path])

    def _exec(self, command: Sequence[str], *, given: bytes = b"", file: int = subprocess.PIPE) -> bytes:
        """Run `command` in the pod, by kubectl: it streams in both directions, and knows every way to log in."""
        program = shutil.which("kubectl")
        if program is None:
            raise JobFailed("there is no `kubectl` on PATH, so nothing can be fetched from the pod: run `make setup`, "
                            "then `. .crossover/env`")  # fmt: skip
        where = ["--namespace", self._namespace, *(["--context", self._context] if self._context else [])]
        pod = ["exec", "-i", self._jobs.pod_of(self._name), "-c", self._container, "--"]
        done = subprocess.run(
            [program, *where, *pod, *command], input=given, stdout=file, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            raise JobFailed(
                f"`{command[0]}` in the backup's pod failed: {done.stderr.decode(errors='replace').strip()}"
            )
        return done.stdout or b""


def _report(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found if "report" in found and "files" in found else None
