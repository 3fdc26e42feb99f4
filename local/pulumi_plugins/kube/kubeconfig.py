"""Kubeconfig files: which API server to talk to, and as whom."""

from __future__ import annotations

import base64
import binascii
import json
import os
import ssl
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EXEC_SECONDS = 60.0
"""How long a credential plugin may take; it may open a browser."""
EXEC_MARGIN_SECONDS = 30.0
"""How long before its end a credential is asked for anew."""


class KubeconfigError(Exception):
    """The kubeconfig does not say which cluster, or how to reach it."""


@dataclass(frozen=True, slots=True)
class Access:
    """One cluster as one user, as a context of a kubeconfig names them."""

    cluster: dict[str, Any]
    user: dict[str, Any] = field(repr=False)
    namespace: str
    folder: Path
    """Relative paths in the file count from here."""

    @property
    def server(self) -> SplitResult:
        """The API server's address."""
        return urlsplit(str(self.cluster["server"]))


def load(text_or_path: str | None, context: str | None = None, cluster: str | None = None) -> Access:
    """The access that `context` (default: the current one) gives.

    `text_or_path`: a kubeconfig, as YAML or JSON text, or its path; None takes $KUBECONFIG,
    then ~/.kube/config, then a pod's service account. Raises KubeconfigError.
    """
    if text_or_path:
        return _of_text(text_or_path, context, cluster)
    paths = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if not paths:
        paths = [Path.home() / ".kube" / "config"]
    configs = [(path, _parse(path.read_text(), str(path))) for path in paths if path.is_file()]
    if not configs:
        if (SERVICE_ACCOUNT / "token").is_file():
            return _of_service_account()
        raise KubeconfigError(
            f"there is no kubeconfig at {os.pathsep.join(str(path) for path in paths)}: "
            "set KUBECONFIG, or the provider's `kubeconfig`"
        )
    return _select(_merge([config for _, config in configs]), context, cluster, configs[0][0].parent)


def is_path(text_or_path: str) -> bool:
    """Whether a provider's `kubeconfig` is a path, and not the text of a kubeconfig."""
    return "\n" not in text_or_path and not text_or_path.lstrip().startswith("{")


def _of_text(text_or_path: str, context: str | None, cluster: str | None) -> Access:
    looks_like_path = is_path(text_or_path)
    path = Path(text_or_path).expanduser() if looks_like_path else None
    if path is not None and path.is_file():
        return _select(_parse(path.read_text(), str(path)), context, cluster, path.parent)
    if looks_like_path and ":" not in text_or_path:
        raise KubeconfigError(f"the provider's `kubeconfig` names {text_or_path}, and there is no such file")
    return _select(_parse(text_or_path, "the provider's `kubeconfig`"), context, cluster, Path.cwd())


def _parse(text: str, origin: str) -> dict[str, Any]:
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The error quotes the text around the fault, which may be a credential.
        raise KubeconfigError(f"{origin} is not YAML or JSON") from error
    if not isinstance(parsed, dict):
        raise KubeconfigError(f"{origin} is not a kubeconfig: it holds no mapping")
    return parsed


def _merge(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """As kubectl merges several files: the first to set a value or to name an entry wins."""
    merged: dict[str, Any] = {"current-context": ""}
    for section in ("clusters", "users", "contexts"):
        seen: dict[str, Any] = {}
        for config in configs:
            for entry in config.get(section) or []:
                seen.setdefault(entry.get("name"), entry)
        merged[section] = list(seen.values())
    merged["current-context"] = next((c["current-context"] for c in configs if c.get("current-context")), "")
    return merged


def _select(config: dict[str, Any], context: str | None, cluster: str | None, folder: Path) -> Access:
    wanted = context or config.get("current-context") or ""
    if not wanted:
        raise KubeconfigError("the kubeconfig has no current context: set the provider's `context`")
    chosen = _entry(config, "contexts", "context", wanted)
    cluster_entry = _entry(config, "clusters", "cluster", cluster or chosen.get("cluster", ""))
    if not cluster_entry.get("server"):
        raise KubeconfigError(f"the kubeconfig's cluster {cluster or chosen.get('cluster')!r} has no server")
    user = chosen.get("user", "")
    return Access(
        cluster=cluster_entry,
        user=_entry(config, "users", "user", user) if user else {},
        namespace=chosen.get("namespace") or "default",
        folder=folder,
    )


def _entry(config: dict[str, Any], section: str, key: str, name: str) -> dict[str, Any]:
    for entry in config.get(section) or []:
        if entry.get("name") == name:
            return entry.get(key) or {}
    names = ", ".join(str(entry.get("name")) for entry in config.get(section) or []) or "none"
    raise KubeconfigError(f"the kubeconfig has no {key} {name!r} (it has: {names})")


def _of_service_account() -> Access:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace = SERVICE_ACCOUNT / "namespace"
    return Access(
        cluster={"server": f"https://{host}:{port}", "certificate-authority": str(SERVICE_ACCOUNT / "ca.crt")},
        user={"tokenFile": str(SERVICE_ACCOUNT / "token")},
        namespace=namespace.read_text().strip() if namespace.is_file() else "default",
        folder=SERVICE_ACCOUNT,
    )


def _inline_or_file(entry: dict[str, Any], key: str, folder: Path) -> bytes | None:
    """The content of KEY-data, or of the file that KEY names."""
    if data := entry.get(f"{key}-data"):
        try:
            return base64.b64decode(data)
        except binascii.Error as error:
            raise KubeconfigError(f"the kubeconfig's {key}-data is not Base64") from error
    if path := entry.get(key):
        try:
            return (folder / str(path)).read_bytes()
        except OSError as error:
            raise KubeconfigError(f"the kubeconfig's {key} cannot be read: {error}") from error
    return None


def tls_context(access: Access, certificate: bytes | None, key: bytes | None) -> ssl.SSLContext:
    """How to speak TLS to the cluster, with a client certificate where there is one."""
    authority = _inline_or_file(access.cluster, "certificate-authority", access.folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if access.cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate and key:
        # The ssl module loads certificates from files alone.
        with tempfile.TemporaryDirectory(prefix="kube-") as folder:
            pem = Path(folder) / "client.pem"
            pem.touch(0o600)
            pem.write_bytes(certificate + b"\n" + key)
            context.load_cert_chain(pem)
    return context


class Credentials:
    """What to send to be known: a client certificate, or an Authorization header. Thread safe."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._executed: dict[str, Any] = {}
        self._expires = 0.0

    def certificate(self) -> tuple[bytes | None, bytes | None]:
        """(certificate, key) as PEM, or (None, None)."""
        user, folder = self._access.user, self._access.folder
        certificate = _inline_or_file(user, "client-certificate", folder)
        if certificate:
            return certificate, _inline_or_file(user, "client-key", folder)
        status = self._execute() if user.get("exec") else {}
        given, key = status.get("clientCertificateData"), status.get("clientKeyData")
        return (given.encode() if given else None), (key.encode() if key else None)

    def header(self) -> str | None:
        """The Authorization header, read anew where its source may change."""
        user = self._access.user
        if token := user.get("token"):
            return f"Bearer {token}"
        if path := user.get("tokenFile"):
            return f"Bearer {(self._access.folder / path).read_text().strip()}"
        if user.get("exec"):
            token = self._execute().get("token")
            return f"Bearer {token}" if token else None
        if user.get("username"):
            pair = f"{user['username']}:{user.get('password', '')}"
            return "Basic " + base64.b64encode(pair.encode()).decode()
        return None

    def forget(self) -> None:
        """Asks the credential plugin anew at the next request (after a 401)."""
        with self._lock:
            self._expires = 0.0

    def _execute(self) -> dict[str, Any]:
        with self._lock:
            if self._executed and time.time() < self._expires:
                return self._executed
            status = self._run_plugin(self._access.user["exec"])
            expiry = status.get("expirationTimestamp")
            self._expires = float("inf")
            if expiry:
                self._expires = datetime.fromisoformat(expiry).timestamp() - EXEC_MARGIN_SECONDS
            self._executed = status
            return status

    def _run_plugin(self, spec: dict[str, Any]) -> dict[str, Any]:
        info = {
            "apiVersion": spec.get("apiVersion", "client.authentication.k8s.io/v1"),
            "kind": "ExecCredential",
            "spec": {"interactive": False},
        }
        environment = os.environ | {entry["name"]: entry["value"] for entry in spec.get("env") or []}
        environment["KUBERNETES_EXEC_INFO"] = json.dumps(info)
        command = [spec["command"], *(spec.get("args") or [])]
        try:
            result = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=EXEC_SECONDS, check=False
            )
            if result.returncode:
                raise KubeconfigError(f"{spec['command']} exited with {result.returncode}: {result.stderr[-500:]}")
            status: dict[str, Any] = json.loads(result.stdout)["status"]
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
            raise KubeconfigError(f"the credential plugin {spec['command']} gave no credential: {error}") from error
        return status
