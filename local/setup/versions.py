"""The programs built from Go modules: which, at which version. The modules' go.sum pin their content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).resolve().parent / "gomods"
"""One folder a group: go.mod and go.sum, and main.go where we choose what is linked in."""

KUBERNETES_VERSION = "v1.36.3"
ETCD_VERSION = "v3.7.3"
COREDNS_VERSION = "v1.15.0"
METRICS_SERVER_VERSION = "v0.9.0"
KUBE_ROUTER_VERSION = "v2.1.0"
"""The newest that is a Go module; only its network policies are used."""
PULUMI_VERSION = "v3.256.0"
PULUMI_OLDEST = (3, 250, 0)
"""An installed Pulumi from this version on is used as it is: the oldest with resource hooks that
fail an update and with `pulumi policy analyze`."""

_PULUMI = "github.com/pulumi/pulumi"
_KUBERNETES = "k8s.io/kubernetes/cmd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Programs that come from one go.mod. `programs`: file name -> Go package. `variables`: Go
    variable -> value, set by the linker. `required`: without it there is no cluster."""

    name: str
    version: str
    programs: dict[str, str]
    variables: dict[str, str]
    required: bool = True

    @property
    def module(self) -> Path:
        """The folder of its go.mod."""
        return MODULES / self.name


def _kubernetes_variables(version: str) -> dict[str, str]:
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{name}": value for package in packages for name, value in values.items()}


KUBERNETES = Group(
    name="kubernetes",
    version=KUBERNETES_VERSION,
    programs={
        name: f"{_KUBERNETES}/{name}"
        for name in (
            *("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
            *("kubelet", "kube-proxy", "kubectl"),
        )
    },
    variables=_kubernetes_variables(KUBERNETES_VERSION),
)
ETCD = Group(name="etcd", version=ETCD_VERSION, programs={"etcd": "go.etcd.io/etcd/server/v3"}, variables={})
COREDNS = Group(
    name="coredns", version=COREDNS_VERSION, programs={"coredns": "github.com/coredns/coredns"}, variables={}
)
PULUMI = Group(
    name="pulumi",
    version=PULUMI_VERSION,
    programs={"pulumi": f"{_PULUMI}/pkg/v3/cmd/pulumi"},
    variables={f"{_PULUMI}/sdk/v3/go/common/version.Version": PULUMI_VERSION},
)

METRICS_SERVER = Group(
    name="metrics-server",
    version=METRICS_SERVER_VERSION,
    programs={"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
    variables={"sigs.k8s.io/metrics-server/pkg/version.gitVersion": METRICS_SERVER_VERSION},
    required=False,
)
KUBE_ROUTER = Group(
    name="kube-router",
    version=KUBE_ROUTER_VERSION,
    programs={"kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"},
    variables={},
    required=False,
)

CLUSTER_GROUPS: tuple[Group, ...] = (ETCD, KUBERNETES, COREDNS, METRICS_SERVER)
"""What the local cluster is made of."""
