"""The components' configuration files, rendered from settings. Pure: text out, no effects."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.cluster.settings import (
    API_PORT,
    CLUSTER_DOMAIN,
    CONTEXT_NAME,
    DNS_SERVICE_IP,
    KUBELET_PORT,
    NODE_IP,
    NODE_POD_NETWORK,
    PAUSE_IMAGE,
    POD_NETWORK,
    RUNTIME_SOCKET,
    ClusterPaths,
)

JsonObject = Mapping[str, Any]
"""A Kubernetes object; its shape is the API's, so it is checked there."""

KUBECONFIG_USERS = ("controller-manager", "scheduler", "kubelet", "kube-proxy", "metrics-server", "network-policy")
"""Each gets a kubeconfig of its own name, made from the certificate of that name."""


def kubeconfig(server: str, authority: bytes, certificate: bytes, key: bytes, *, namespace: str = "default") -> str:
    """A kubeconfig with everything inside, as JSON (which is YAML)."""

    def encode(value: bytes) -> str:
        return base64.b64encode(value).decode()

    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": CONTEXT_NAME, "cluster": {"server": server, "certificate-authority-data": encode(authority)}}
            ],
            "users": [
                {
                    "name": CONTEXT_NAME,
                    "user": {"client-certificate-data": encode(certificate), "client-key-data": encode(key)},
                }
            ],
            "contexts": [
                {
                    "name": CONTEXT_NAME,
                    "context": {"cluster": CONTEXT_NAME, "user": CONTEXT_NAME, "namespace": namespace},
                }
            ],
            "current-context": CONTEXT_NAME,
        }
    )


def kubelet_config(paths: ClusterPaths) -> str:
    """The KubeletConfiguration."""
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_IP,
            "port": KUBELET_PORT,
            "readOnlyPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(paths.pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(paths.pki / "kubelet-server.crt"),
            "tlsPrivateKeyFile": str(paths.pki / "kubelet-server.key"),
            "containerRuntimeEndpoint": f"unix://{RUNTIME_SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{paths.name}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDNS": [DNS_SERVICE_IP],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": str(paths.config / "resolv.conf"),
            "oomScoreAdj": 0,
            # Every image was imported from a file and could not be pulled again: none may be collected.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "serializeImagePulls": False,
            "shutdownGracePeriod": "0s",
            "logging": {"format": "text"},
        }
    )


def proxy_config(paths: ClusterPaths) -> str:
    """The KubeProxyConfiguration."""
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": POD_NETWORK,
            "bindAddress": "127.0.0.1",
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "clientConnection": {"kubeconfig": str(paths.config / "kube-proxy.kubeconfig")},
            "oomScoreAdj": 0,
            # Zero leaves the kernel's limits alone: they belong to the host, not to this namespace.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }
    )


def containerd_config(paths: ClusterPaths) -> str:
    """containerd's config.toml (version 2: read by containerd 1.5 up to 2.x)."""
    cni_bin, cni_conf = _toml("/usr/lib/cni"), _toml(str(paths.config / "cni"))
    return f"""version = 2
root = {_toml(str(paths.lib / "containerd"))}
state = "/run/containerd"

[grpc]
  address = {_toml(str(RUNTIME_SOCKET))}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {_toml(PAUSE_IMAGE)}
  # Without CAP_SYS_RESOURCE a score below containerd's own cannot be set.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {cni_bin}
    conf_dir = {cni_conf}
"""


def cni_config() -> str:
    """The pod network: a routed link a pod.

    `ptp` and not `bridge`: every packet between pods passes the FORWARD chain, so Services and
    NetworkPolicies work without the br_netfilter module, which may be missing in a namespace.
    """
    return _json(
        {
            "cniVersion": "0.4.0",
            "name": "crossover",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": False,
                    "ipam": {"type": "host-local", "subnet": NODE_POD_NETWORK, "routes": [{"dst": "0.0.0.0/0"}]},
                },
            ],
        }
    )


def write_configuration(paths: ClusterPaths) -> None:
    """Write every configuration file of the cluster; those with keys inside as mode 0600."""
    (paths.config / "cni").mkdir(parents=True, exist_ok=True)
    plain = {
        "kubelet.json": kubelet_config(paths),
        "kube-proxy.json": proxy_config(paths),
        "containerd.toml": containerd_config(paths),
        "cni/10-crossover.conflist": cni_config(),
        "resolv.conf": "options ndots:1\n",
    }
    for name, text in plain.items():
        (paths.config / name).write_text(text)
    for user in KUBECONFIG_USERS:
        write_kubeconfig(paths, user, paths.config / f"{user}.kubeconfig", f"https://127.0.0.1:{API_PORT}")


def write_kubeconfig(paths: ClusterPaths, user: str, target: Path, server: str, *, namespace: str = "default") -> None:
    """Write the kubeconfig of the certificate `user` to `target`, mode 0600 from its first byte."""
    text = kubeconfig(
        server,
        (paths.pki / "ca.crt").read_bytes(),
        (paths.pki / f"{user}.crt").read_bytes(),
        (paths.pki / f"{user}.key").read_bytes(),
        namespace=namespace,
    )
    write_private(target, text)


def write_private(target: Path, text: str) -> None:
    """Write `text` to `target` so that nobody else can read it at any moment."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.rename(target)


def _json(value: JsonObject) -> str:
    return json.dumps(value, indent=2) + "\n"


def _toml(text: str) -> str:
    # A JSON string is a TOML basic string.
    return json.dumps(text)
