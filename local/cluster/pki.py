"""Keys and certificates of the cluster, made with the openssl command. Keys are mode 0600."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local.cluster.settings import (
    API_SERVICE_IP,
    CLUSTER_DOMAIN,
    METRICS_USER,
    NODE_IP,
    NODE_NAME,
    POLICY_USER,
    PROVISIONER_USER,
)

VALID_DAYS = 3650
"""As long as any local cluster lives: it is made anew at each `make down` and `make up`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One leaf certificate: `organization` is the Kubernetes group, `name` the user."""

    file: str
    name: str
    organization: str = ""
    authority: str = "ca"
    alternatives: tuple[str, ...] = ()


_API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}")

CERTIFICATES: tuple[Certificate, ...] = (
    Certificate(
        file="apiserver",
        name="kube-apiserver",
        alternatives=(
            *(f"DNS:{name}" for name in (*_API_NAMES, "localhost")),
            *(f"IP:{address}" for address in ("127.0.0.1", NODE_IP, API_SERVICE_IP)),
        ),
    ),
    Certificate(file="apiserver-kubelet", name="kube-apiserver-kubelet-client", organization="system:masters"),
    Certificate(file="admin", name="crossover-admin", organization="system:masters"),
    Certificate(file="controller-manager", name="system:kube-controller-manager"),
    Certificate(file="scheduler", name="system:kube-scheduler"),
    Certificate(file="kube-proxy", name="system:kube-proxy"),
    Certificate(file="kubelet", name=f"system:node:{NODE_NAME}", organization="system:nodes"),
    Certificate(
        file="kubelet-server", name=NODE_NAME, alternatives=(f"DNS:{NODE_NAME}", f"IP:{NODE_IP}", "IP:127.0.0.1")
    ),
    Certificate(file="provisioner", name=PROVISIONER_USER),
    Certificate(file="metrics-server", name=METRICS_USER),
    Certificate(
        file="metrics-server-tls",
        name="metrics-server",
        alternatives=("DNS:metrics-server.kube-system.svc", f"IP:{NODE_IP}"),
    ),
    Certificate(file="network-policy", name=POLICY_USER),
    Certificate(file="etcd", name="etcd", authority="etcd-ca", alternatives=("DNS:localhost", "IP:127.0.0.1")),
    Certificate(file="etcd-client", name="kube-apiserver", authority="etcd-ca"),
    Certificate(file="front-proxy", name="front-proxy-client", authority="front-proxy-ca"),
)

AUTHORITIES = ("ca", "etcd-ca", "front-proxy-ca")


def subject(certificate: Certificate) -> str:
    """The subject as openssl takes it."""
    return (f"/O={certificate.organization}" if certificate.organization else "") + f"/CN={certificate.name}"


def extensions(certificate: Certificate) -> str:
    """The openssl extension file of `certificate`."""
    lines = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        "extendedKeyUsage=clientAuth,serverAuth",
        "subjectKeyIdentifier=hash",
        "authorityKeyIdentifier=keyid",
    ]
    if certificate.alternatives:
        lines.append("subjectAltName=" + ",".join(certificate.alternatives))
    return "\n".join(lines) + "\n"


def make_pki(folder: Path) -> None:
    """Make each key and certificate in `folder` that is not there yet.

    Raises RuntimeError with openssl's words where it fails.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    previous = os.umask(0o077)
    try:
        for authority in AUTHORITIES:
            _make_authority(folder, authority)
        for certificate in CERTIFICATES:
            _make_leaf(folder, certificate)
        key, public = folder / "sa.key", folder / "sa.pub"
        if not key.exists() or not public.exists():
            _openssl("genrsa", "-out", str(key), "2048")
            _openssl("rsa", "-in", str(key), "-pubout", "-out", str(public))
    finally:
        os.umask(previous)


def _make_authority(folder: Path, name: str) -> None:
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    if key.exists() and certificate.exists():
        return
    _make_key(key)
    partial = certificate.with_suffix(".partial")
    _openssl(
        *("req", "-x509", "-new", "-key", str(key), "-days", str(VALID_DAYS), "-out", str(partial)),
        *("-subj", f"/CN=crossover-{name}", "-addext", "keyUsage=critical,keyCertSign,digitalSignature"),
    )
    partial.rename(certificate)


def _make_leaf(folder: Path, leaf: Certificate) -> None:
    key, certificate = folder / f"{leaf.file}.key", folder / f"{leaf.file}.crt"
    if key.exists() and certificate.exists():
        return
    request, extension = folder / f"{leaf.file}.csr", folder / f"{leaf.file}.ext"
    extension.write_text(extensions(leaf))
    _make_key(key)
    _openssl("req", "-new", "-key", str(key), "-subj", subject(leaf), "-out", str(request))
    partial = certificate.with_suffix(".partial")
    _openssl(
        *("x509", "-req", "-in", str(request), "-days", str(VALID_DAYS), "-extfile", str(extension)),
        *("-CA", str(folder / f"{leaf.authority}.crt"), "-CAkey", str(folder / f"{leaf.authority}.key")),
        *("-set_serial", f"0x{os.urandom(12).hex()}", "-out", str(partial)),
    )
    partial.rename(certificate)
    request.unlink()
    extension.unlink()


def _make_key(path: Path) -> None:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))


def _openssl(*arguments: str) -> None:
    result = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed, so the cluster has no keys: {result.stderr.strip()}")
