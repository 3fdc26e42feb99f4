"""The processes of the cluster: how each is called and what it waits for. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.cluster.settings import (
    API_PORT,
    CLUSTER_DOMAIN,
    METRICS_SERVER_PORT,
    NODE_IP,
    NODE_NAME,
    POD_NETWORK,
    RUNTIME_SOCKET,
    SERVICE_NETWORK,
    ClusterPaths,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One process. It starts once each condition of `after` holds: `tcp:PORT` (loopback
    accepts), `path:FILE` (exists)."""

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()


_PYTHON = Path(sys.executable).with_name("python")
"""By one name, whatever the caller's was: `up` restarts a cluster whose command lines changed."""

Binaries = Mapping[str, Path]
"""Program name -> its file."""

_ETCD, _API = "tcp:2379", f"tcp:{API_PORT}"


def make_units(paths: ClusterPaths, binaries: Binaries, listener: int) -> tuple[Unit, ...]:
    """Every process of the cluster, in the order of their start.

    `listener` is the file descriptor of the host's listening loopback socket.
    """

    def program(name: str, *flags: str, after: tuple[str, ...] = ()) -> Unit:
        return Unit(name=name, command=(str(binaries[name]), *flags), after=after)

    config = paths.config
    units = [
        program("etcd", *_etcd_flags(paths)),
        program("kube-apiserver", *_api_flags(paths), after=(_ETCD,)),
        Unit(name="containerd", command=("containerd", "--config", str(config / "containerd.toml"))),
        program("kube-controller-manager", *_manager_flags(paths), after=(_API,)),
        program("kube-scheduler", *_scheduler_flags(paths), after=(_API,)),
        program("kubelet", *_kubelet_flags(paths), after=(_API, f"path:{RUNTIME_SOCKET}")),
        program(
            "kube-proxy",
            *(f"--config={config / 'kube-proxy.json'}", f"--hostname-override={NODE_NAME}"),
            after=(_API,),
        ),
        _python("forwarder", "local.cluster.forwarder", "--fd", str(listener), "--port", str(API_PORT)),
        _python(
            *("provisioner", "local.cluster.provisioner"),
            *("--pki", str(paths.pki), "--volumes", str(paths.volumes)),
            after=(_API,),
        ),
    ]
    if "metrics-server" in binaries:
        units.append(program("metrics-server", *_metrics_flags(paths), after=(_API,)))
    return tuple(units)


def _python(name: str, module: str, *flags: str, after: tuple[str, ...] = ()) -> Unit:
    return Unit(name=name, command=(str(_PYTHON), "-m", module, *flags), after=after)


def _etcd_flags(paths: ClusterPaths) -> tuple[str, ...]:
    pki = paths.pki
    return (
        "--name=crossover",
        f"--data-dir={paths.lib / 'etcd'}",
        "--listen-client-urls=https://127.0.0.1:2379",
        "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=https://127.0.0.1:2380",
        "--initial-advertise-peer-urls=https://127.0.0.1:2380",
        "--initial-cluster=crossover=https://127.0.0.1:2380",
        f"--cert-file={pki / 'etcd.crt'}",
        f"--key-file={pki / 'etcd.key'}",
        f"--trusted-ca-file={pki / 'etcd-ca.crt'}",
        "--client-cert-auth",
        f"--peer-cert-file={pki / 'etcd.crt'}",
        f"--peer-key-file={pki / 'etcd.key'}",
        f"--peer-trusted-ca-file={pki / 'etcd-ca.crt'}",
        "--peer-client-cert-auth",
        "--log-level=warn",
    )


def _api_flags(paths: ClusterPaths) -> tuple[str, ...]:
    pki = paths.pki
    return (
        f"--advertise-address={NODE_IP}",
        f"--secure-port={API_PORT}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={pki / 'ca.crt'}",
        "--etcd-servers=https://127.0.0.1:2379",
        f"--etcd-cafile={pki / 'etcd-ca.crt'}",
        f"--etcd-certfile={pki / 'etcd-client.crt'}",
        f"--etcd-keyfile={pki / 'etcd-client.key'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki / 'front-proxy.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy.key'}",
        "--profiling=false",
    )


def _manager_flags(paths: ClusterPaths) -> tuple[str, ...]:
    config, pki = paths.config / "controller-manager.kubeconfig", paths.pki
    return (
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={POD_NETWORK}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'sa.key'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
        "--profiling=false",
    )


def _scheduler_flags(paths: ClusterPaths) -> tuple[str, ...]:
    config = paths.config / "scheduler.kubeconfig"
    return (
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--profiling=false",
    )


def _metrics_flags(paths: ClusterPaths) -> tuple[str, ...]:
    config, pki = paths.config / "metrics-server.kubeconfig", paths.pki
    return (
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--bind-address={NODE_IP}",
        f"--secure-port={METRICS_SERVER_PORT}",
        f"--tls-cert-file={pki / 'metrics-server-tls.crt'}",
        f"--tls-private-key-file={pki / 'metrics-server-tls.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=15s",
    )


def _kubelet_flags(paths: ClusterPaths) -> tuple[str, ...]:
    return (
        f"--config={paths.config / 'kubelet.json'}",
        f"--kubeconfig={paths.config / 'kubelet.kubeconfig'}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_IP}",
        "--node-labels=crossover.dev/local=true",
    )


__all__ = ["CLUSTER_DOMAIN", "Binaries", "Unit", "make_units"]
