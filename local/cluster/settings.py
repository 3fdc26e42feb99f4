"""Where the local cluster lives: names, addresses and paths. Values only, no effects."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

NODE_NAME = "crossover"
CONTEXT_NAME = "crossover-local"
DEFAULT_NAMESPACE = "trading"
CLUSTER_DOMAIN = "cluster.local"

# All of these addresses exist only inside the cluster's own network namespace.
NODE_IP = "172.31.255.1"
NODE_NETWORK = "172.31.255.0/24"
POD_NETWORK = "10.244.0.0/16"
NODE_POD_NETWORK = "10.244.0.0/24"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_SERVICE_IP = "10.96.0.10"
API_PORT = 6443
KUBELET_PORT = 10250
METRICS_SERVER_PORT = 4443

RUNTIME_SOCKET = Path("/run/containerd/containerd.sock")
"""containerd's socket as seen inside the mount namespace, where /run is a private tmpfs: so
the path is short (108 bytes is the limit) however long the repository's path."""

PAUSE_IMAGE = "localhost/crossover/pause:local"
COREDNS_IMAGE = "localhost/crossover/coredns:local"
PROVISIONER_NAME = "crossover.dev/local"
PROVISIONER_USER = "crossover:provisioner"
METRICS_USER = "crossover:metrics-server"
POLICY_USER = "crossover:network-policy"


def cache_home() -> Path:
    """The user's cache folder for this product: ${XDG_CACHE_HOME:-~/.cache}/crossover."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "crossover"


@dataclass(frozen=True, slots=True)
class ClusterPaths:
    """The folders of one clone's cluster. Two clones never share one."""

    root: Path

    @property
    def name(self) -> str:
        """A name no other clone has: of its cgroup, and in listings."""
        return "crossover-" + hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    @property
    def local(self) -> Path:
        """The local state of this clone: kubeconfig, Pulumi state, the cluster."""
        return self.root / ".crossover"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, mode 0600."""
        return self.local / "kubeconfig"

    @property
    def state(self) -> Path:
        """Everything of the cluster itself; removed whole by `down`."""
        return self.local / "cluster"

    @property
    def pki(self) -> Path:
        """Keys (0600) and certificates."""
        return self.state / "pki"

    @property
    def config(self) -> Path:
        """Rendered configuration of the components."""
        return self.state / "config"

    @property
    def logs(self) -> Path:
        """One log a component."""
        return self.state / "logs"

    @property
    def lib(self) -> Path:
        """What outlives a restart: etcd, containerd, kubelet, pod logs."""
        return self.state / "lib"

    @property
    def volumes(self) -> Path:
        """The data of persistent volumes, one folder a volume."""
        return self.state / "volumes"

    @property
    def record(self) -> Path:
        """Which process is the supervisor, on which port, since when."""
        return self.state / "record.json"

    @property
    def units(self) -> Path:
        """What the supervisor says of its units."""
        return self.state / "units.json"

    @property
    def lock(self) -> Path:
        """Held during `up` and `down`. Beside the state, for `down` removes that."""
        return self.local / "cluster.lock"


def this_clone() -> ClusterPaths:
    """The paths of the clone this module was loaded from."""
    return ClusterPaths(ROOT)
