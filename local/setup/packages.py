"""Programs of the distribution that the local cluster and the tests need; installed where apt is there.

What is looked for is the program, not the package: a machine that has containerd from Docker's
own packages keeps it. Nothing is ever removed or upgraded, and no service is started or enabled.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local.setup.errors import SetupError
from local.setup.progress import console, step

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the cluster's processes look; a user's own PATH often lacks the sbin folders."""
POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian's packages ask this program whether they may start a service."""
POLICY_TEXT = "#!/bin/sh\n# Made by Crossover's set-up for the time of one apt-get call.\nexit 101\n"
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))


@dataclass(frozen=True, slots=True)
class Need:
    """A program, why it is needed, and the Debian and Ubuntu package that has it."""

    program: str
    package: str
    why: str
    service: str = ""
    """The service of that package, if it has one: it must stay as it was."""
    others: tuple[str, ...] = ()
    """Programs that do as well."""

    @property
    def present(self) -> bool:
        """Whether it is there already."""
        if self.package == "containernetworking-plugins":
            return cni_folder() is not None
        return self.path is not None

    @property
    def path(self) -> str | None:
        """Where it is, or another that does as well."""
        folders = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
        found = (shutil.which(program, path=folders) for program in (self.program, *self.others))
        return next((path for path in found if path is not None), None)


CLUSTER: tuple[Need, ...] = (
    Need("containerd", "containerd", "runs the cluster's containers", "containerd"),
    Need("ctr", "containerd", "imports images"),
    Need("runc", "runc", "runs the cluster's containers"),
    Need("ptp", "containernetworking-plugins", "gives pods their network"),
    Need("iptables", "iptables", "carries Services"),
    Need("ip", "iproute2", "makes the cluster's network"),
    Need("openssl", "openssl", "makes the cluster's certificates"),
)
BROWSER = Need(
    "chromium-headless-shell", "chromium-headless-shell", "opens the pages in the browser tests",
    others=("chromium", "google-chrome", "google-chrome-stable"),
)  # fmt: skip
"""Ubuntu has no such package: see local/setup/browser.py."""
TESTS: tuple[Need, ...] = (
    Need("redis-server", "redis-server", "the contract tests' Redis", "redis-server"),
    Need("pgbouncer", "pgbouncer", "the contract tests' pooler", "pgbouncer"),
    Need("age", "age", "opens the contract tests' sealed Secrets"),
    Need("java", "default-jre-headless", "the contract tests' Kafka"),
    Need("prometheus", "prometheus", "the tests of the alert rules", "prometheus"),
)


def cni_folder(folders: Iterable[Path] = CNI_FOLDERS) -> Path | None:
    """The folder with the CNI plugins that pods need."""
    return next((folder for folder in folders if all((folder / name).exists() for name in ("ptp", "host-local"))), None)


def missing(needs: Iterable[Need]) -> list[Need]:
    """Those whose program is not there."""
    return [need for need in needs if not need.present]


def ensure(needs: Iterable[Need]) -> None:
    """Install the packages of what is missing. Raises SetupError naming them where that cannot be."""
    wanted = missing(needs)
    if not wanted:
        return
    packages = sorted({need.package for need in wanted})
    reasons = "; ".join(f"{need.program} ({need.package}): {need.why}" for need in wanted)
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise SetupError(f"missing on this machine: {reasons}. There is no apt-get here: install these with your "
                         "system's package manager, or use a cluster of yours with CROSSOVER_KUBE_CONTEXT")  # fmt: skip
    if os.geteuid() != 0:
        raise SetupError(f"missing on this machine: {reasons}. Installing them needs root: `sudo {command}`")
    console.print(f"to be installed with apt-get, no service of theirs started: {', '.join(packages)}")
    _install(packages, [need.service for need in wanted if need.service])
    if left := missing(wanted):
        raise SetupError(f"`{command}` went well, but {', '.join(need.program for need in left)} is still not found")


def refresh() -> None:
    """Read the lists of packages anew."""
    with step("apt-get update"):
        # An unreachable source of other packages is no reason to stop: what is missing tells itself.
        subprocess.run(["apt-get", "update", "-q"], capture_output=True, check=False)


def _install(packages: list[str], services: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    options = ["-y", "-q", "--no-install-recommends", "--no-remove", "--no-upgrade"]
    refresh()
    with step(f"apt-get install {' '.join(packages)}"), services_stay_down():
        done = subprocess.run(
            ["apt-get", "install", *options, *packages], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[-800:]
            raise SetupError(f"apt-get install {' '.join(packages)} failed: {said}")
        if services and Path("/run/systemd/system").exists():
            subprocess.run(["systemctl", "disable", "-q", *services], capture_output=True, check=False)


@contextlib.contextmanager
def services_stay_down(policy: Path = POLICY) -> Iterator[None]:
    """No package that is installed in here starts its service. A policy of the machine's own stays."""
    if policy.exists() or policy.is_symlink():
        yield
        return
    policy.write_text(POLICY_TEXT)
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
