"""A small Kubernetes for the plugins' tests: etcd, API server and controllers, no node.

What a kubelet would write, the tests write: see `kubelet.py`.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.cluster.api import Kubectl
from local.cluster.pki import make_pki

READY_SECONDS = 90.0
"""Ten on an idle machine."""
STOP_SECONDS = 20.0
_CONTROLLERS = "*,-nodeipam,-nodelifecycle,-node-route-controller,-service-lb-controller,-taint-eviction-controller"
"""Without those that look after nodes: there are none."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class ControlPlane:
    """Runs from `start` to `stop`, on free ports of the loopback address, in a folder of its own."""

    def __init__(self, binaries: Mapping[str, Path]) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="crossover-plane-"))
        self._pki = self._folder / "pki"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._etcd_port, self._peer_port, self._api_port = _free_port(), _free_port(), _free_port()
        self.kubeconfig = self._folder / "kubeconfig"
        self.kubectl = Kubectl(binaries["kubectl"], self.kubeconfig)

    def start(self) -> None:
        """Returns once the API server and the controllers serve. Raises TimeoutError with their logs."""
        make_pki(self._pki)
        self.kubeconfig.write_text(json.dumps(self._kubeconfig("admin")))
        manager = self._folder / "manager.kubeconfig"
        manager.write_text(json.dumps(self._kubeconfig("controller-manager")))
        self._spawn("etcd", *self._etcd_flags())
        self._spawn("kube-apiserver", *self._api_flags())
        self._until(lambda: self.kubectl.succeeds("get", "--raw", "/readyz"), "the API server")
        self._spawn("kube-controller-manager", *self._manager_flags(manager))
        # A namespace is of use once its controllers have given it a service account.
        self._until(lambda: self.kubectl.succeeds("get", "serviceaccount", "default"), "the controllers")

    def stop(self) -> None:
        """Ends every process, the last started first, and removes the folder."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._folder)

    def make_namespace(self, name: str) -> None:
        """Makes a namespace in which pods can be made."""
        self.kubectl.run("create", "namespace", name)
        self._until(lambda: self.kubectl.succeeds("get", "serviceaccount", "default", "-n", name), f"namespace {name}")

    def get(self, namespace: str, *what: str) -> dict[str, Any]:
        """`kubectl get`, read."""
        return self.kubectl.get("-n", namespace, *what)

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not holds():
            ended = [str(process.args) for process in self._processes if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not become ready; ended: {ended}\n{self._logs()}")
            time.sleep(0.1)  # between two questions, not instead of one

    def _logs(self) -> str:
        return "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in sorted(self._folder.glob("*.log")))

    def _spawn(self, program: str, *flags: str) -> None:
        with (self._folder / f"{program}.log").open("wb") as log:
            command = [str(self._binaries[program]), *flags]
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder))

    def _kubeconfig(self, user: str) -> dict[str, Any]:
        def data(name: str) -> str:
            return base64.b64encode((self._pki / name).read_bytes()).decode()

        server = {"server": f"https://127.0.0.1:{self._api_port}", "certificate-authority-data": data("ca.crt")}
        credentials = {"client-certificate-data": data(f"{user}.crt"), "client-key-data": data(f"{user}.key")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": server}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
            "current-context": "tests",
        }

    def _etcd_flags(self) -> list[str]:
        client, peer = f"https://127.0.0.1:{self._etcd_port}", f"https://127.0.0.1:{self._peer_port}"
        files = {"cert-file": "etcd.crt", "key-file": "etcd.key", "trusted-ca-file": "etcd-ca.crt"}
        return [
            "--name=tests",
            f"--data-dir={self._folder / 'etcd'}",
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=tests={peer}"),
            *(f"--{flag}={self._pki / file}" for flag, file in files.items()),
            *(f"--peer-{flag}={self._pki / file}" for flag, file in files.items()),
            "--client-cert-auth",
            "--unsafe-no-fsync",  # what these tests write need not outlive them
            "--log-level=warn",
        ]

    def _api_flags(self) -> list[str]:
        pki = self._pki
        return [
            *("--bind-address=127.0.0.1", f"--secure-port={self._api_port}", "--endpoint-reconciler-type=none"),
            *(f"--etcd-servers=https://127.0.0.1:{self._etcd_port}", f"--etcd-cafile={pki / 'etcd-ca.crt'}"),
            *(f"--etcd-certfile={pki / 'etcd-client.crt'}", f"--etcd-keyfile={pki / 'etcd-client.key'}"),
            *("--authorization-mode=RBAC", f"--client-ca-file={pki / 'ca.crt'}"),
            *(f"--tls-cert-file={pki / 'apiserver.crt'}", f"--tls-private-key-file={pki / 'apiserver.key'}"),
            *(
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={pki / 'sa.pub'}",
            ),
            *(f"--service-account-signing-key-file={pki / 'sa.key'}", "--service-cluster-ip-range=10.96.0.0/16"),
        ]

    def _manager_flags(self, kubeconfig: Path) -> list[str]:
        return [
            f"--kubeconfig={kubeconfig}",
            *("--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false"),
            *("--use-service-account-credentials=true", f"--controllers={_CONTROLLERS}"),
            f"--root-ca-file={self._pki / 'ca.crt'}",
            f"--service-account-private-key-file={self._pki / 'sa.key'}",
        ]
