"""The local cluster itself: volumes, names, Pod Security, metrics; and its end, which leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.cluster.namespaces import cgroup_members, hierarchies
from local.cluster.processes import read_record
from local.cluster.settings import CONTEXT_NAME, ROOT, ClusterPaths, cache_home

pytestmark = pytest.mark.e2e
WAIT = "120s"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


class Kubectl:
    """kubectl on one kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def call(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run it, whatever its end."""
        command = [sys.executable, "-m", "local.cluster", "kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False, timeout=180)

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Its output; a failure fails the test with kubectl's words."""
        done = self.call(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """`kubectl apply`."""
        self.run("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def namespace_object(name: str) -> dict[str, Any]:
    """A namespace with Pod Security `restricted`."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod_object(namespace: str, name: str, program: str, claim: str | None = None) -> dict[str, Any]:
    """A pod that runs a line of Python, with the claim at /data."""
    container: dict[str, Any] = {
        "name": "main",
        "image": "localhost/crossover/workload:local",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", program],
        "securityContext": RESTRICTED,
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if claim:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture
def kubectl(cluster: Path) -> Kubectl:
    """kubectl on the local cluster; these are tests of it, so another one is passed over."""
    found = Kubectl(cluster)
    if found.run("config", "current-context").strip() != CONTEXT_NAME:
        pytest.skip("the current cluster is not the local one")
    return found


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl.apply(namespace_object(name))
    yield name
    kubectl.run("delete", "namespace", name, f"--timeout={WAIT}")


def succeeded(kubectl: Kubectl, namespace: str, pod: str) -> str:
    """The log of a pod that is to end well."""
    done = kubectl.call(
        "wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", f"pod/{pod}", f"--timeout={WAIT}"
    )
    log = kubectl.call("logs", "-n", namespace, pod).stdout
    assert done.returncode == 0, done.stderr + log + kubectl.run("describe", "pod", "-n", namespace, pod)
    return log


def test_a_claim_is_bound_kept_between_pods_and_removed(kubectl: Kubectl, namespace: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }
    kubectl.apply(claim, pod_object(namespace, "writer", "open('/data/kept', 'w').write('as it was')", "data"))
    succeeded(kubectl, namespace, "writer")
    kubectl.apply(pod_object(namespace, "reader", "print(open('/data/kept').read())", "data"))
    assert succeeded(kubectl, namespace, "reader").strip() == "as it was"
    found = json.loads(kubectl.run("get", "pvc", "-n", namespace, "data", "-o", "json"))
    assert found["spec"]["storageClassName"] == "standard"
    volume = found["spec"]["volumeName"]
    folder = Path(json.loads(kubectl.run("get", "pv", volume, "-o", "json"))["spec"]["local"]["path"])
    assert (folder / "kept").read_text() == "as it was"
    kubectl.run("delete", "-n", namespace, "pod", "writer", "reader", f"--timeout={WAIT}")
    kubectl.run("delete", "-n", namespace, "pvc", "data", f"--timeout={WAIT}")
    kubectl.run("wait", "--for=delete", f"pv/{volume}", f"--timeout={WAIT}")
    assert not folder.exists()


def test_names_are_found_and_unknown_ones_refused_at_once(kubectl: Kubectl, namespace: str) -> None:
    program = (
        "import socket, time\n"
        "print(socket.gethostbyname('kubernetes.default.svc.cluster.local'))\n"
        "began = time.monotonic()\n"
        "try:\n    socket.gethostbyname('example.org')\n"
        "except OSError:\n    print(time.monotonic() - began < 2)\n"
    )
    kubectl.apply(pod_object(namespace, "resolver", program))
    assert succeeded(kubectl, namespace, "resolver").split() == ["10.96.0.1", "True"]


def test_pod_security_refuses_what_is_not_restricted(kubectl: Kubectl, namespace: str) -> None:
    pod = pod_object(namespace, "bad", "pass")
    pod["spec"]["containers"][0]["securityContext"] = {"allowPrivilegeEscalation": True}
    done = kubectl.call("apply", "-f", "-", stdin=json.dumps(pod))
    assert done.returncode != 0
    assert "violates PodSecurity" in done.stderr


def test_the_api_is_on_loopback_only_and_asks_who_is_there(kubectl: Kubectl) -> None:
    server = kubectl.run("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    assert server.startswith("https://127.0.0.1:")
    port = f"{int(server.rpartition(':')[2]):04X}"
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if " 0A " in line]
    assert [place for place in listening if place.endswith(f":{port}")] == [f"0100007F:{port}"]
    bare = Kubectl(Path("/dev/null"))
    refused = bare.call(f"--server={server}", "--insecure-skip-tls-verify", "--token=wrong", "get", "nodes")
    assert refused.returncode != 0
    assert "Unauthorized" in refused.stderr


def test_metrics_are_served(kubectl: Kubectl) -> None:
    deadline = time.monotonic() + 120
    while (done := kubectl.call("top", "node", "--no-headers")).returncode != 0:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(2)  # the first figures need two scrapes; nothing announces them
    assert done.stdout.split()[0] == "crossover"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ClusterPaths]:
    """A cluster of its own in a copy of the code, removed whatever happens."""
    archives = [cache_home() / "images" / "archives" / f"{name}.tar" for name in ("pause", "coredns")]
    if os.geteuid() != 0 or not all(file.exists() for file in archives):
        pytest.skip("needs root and the built images of pause and coredns: `make up`")
    shutil.copytree(ROOT / "local", tmp_path / "clone" / "local")
    paths = ClusterPaths(tmp_path / "clone")
    yield paths
    call(paths, "down")


def call(paths: ClusterPaths, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m local.cluster` of that copy."""
    command = [sys.executable, "-m", "local.cluster", *arguments]
    environment = os.environ | {"PYTHONPATH": str(paths.root)}
    return subprocess.run(
        command, cwd=paths.root, env=environment, capture_output=True, text=True, check=False, timeout=400
    )


def up(paths: ClusterPaths) -> str:
    """Bring it up; the kubectl output of its node."""
    archives = [str(cache_home() / "images" / "archives" / f"{name}.tar") for name in ("pause", "coredns")]
    done = call(paths, "up", *archives)
    assert done.returncode == 0, done.stdout + done.stderr
    return Kubectl(paths.kubeconfig).run("get", "nodes", "--no-headers")


def test_a_killed_cluster_comes_back_and_a_removed_one_leaves_nothing(own: ClusterPaths) -> None:
    assert " Ready " in up(own)
    assert call(own, "status").returncode == 0
    kubectl = Kubectl(own.kubeconfig)
    kubectl.run("create", "-n", "default", "configmap", "kept", "--from-literal=a=b")
    for pid in cgroup_members(own.name):
        with contextlib.suppress(ProcessLookupError):  # gone with one that was killed before it
            os.kill(pid, signal.SIGKILL)
    record = read_record(own.record)
    assert record is not None
    deadline = time.monotonic() + 20
    while record.alive:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the kernel ends the namespace's processes by itself; the record is of no child of ours
    assert call(own, "status").returncode == 3
    assert " Ready " in up(own)
    assert kubectl.run("get", "-n", "default", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"

    done = call(own, "down")
    assert done.returncode == 0, done.stderr
    assert not own.state.exists()
    assert not own.kubeconfig.exists()
    assert not cgroup_members(own.name)
    assert not [top for top in hierarchies() if (top / own.name).exists()]
    assert str(own.root) not in Path("/proc/mounts").read_text()
    alive = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(own.state) in _words(path)]
    assert not alive
    again = call(own, "down")
    assert again.returncode == 0 and "there was no cluster" in again.stderr


def _words(file: Path) -> str:
    try:
        return file.read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""
