"""The `kubernetes` stand-in on a cluster with a node: pods' logs, failures and interrupts.

The CLI and its plugins are the test's own, in a namespace of their own; the stack `local` is not touched.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cluster.api import Kubectl
from local.setup import toolchain
from local.setup.versions import KUBERNETES
from tests.plugins.cli import Project, Toolchain, install_toolchain

pytestmark = pytest.mark.e2e

IMAGE = "localhost/crossover/workload:local"

PROGRAM = """
    import pulumi
    import pulumi_kubernetes as k8s

    script = [
        'import os, sys, time',
        'what = os.environ["WHAT"]',
        'print("checking the", what, flush=True)',
        'time.sleep(600 if what == "wait" else 0)',
        'print("lost 3 of 10 events" if what == "bad" else "lost 0 of 10 events", flush=True)',
        'sys.exit(1 if what == "bad" else 0)',
    ]
    what = {"name": "WHAT", "valueFrom": {"configMapKeyRef": {"name": "what", "key": "what"}}}
    main = {"name": "main", "image": "%s", "command": ["python", "-c", "\\n".join(script)], "env": [what]}
    pod = {"containers": [main], "terminationGracePeriodSeconds": 1}
""".replace("%s", IMAGE)
JOB = (
    PROGRAM
    + """
    k8s.batch.v1.Job(
        "verdict",
        metadata={"name": "verdict", "annotations": {"pulumi.com/replaceUnready": "true"}},
        spec={"backoffLimit": 0, "template": {"spec": {**pod, "restartPolicy": "Never"}}},
    )
"""
)
DEPLOYMENT = (
    PROGRAM
    + """
    labels = {"app": "crashing"}
    k8s.apps.v1.Deployment(
        "crashing",
        metadata={"name": "crashing"},
        # Without a probe a pod is ready as soon as it runs: it counts once it has stayed so.
        spec={
            "minReadySeconds": 5,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    )
"""
)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    """The CLI with the stand-ins."""
    return install_toolchain(tmp_path_factory.mktemp("toolchain"))


@pytest.fixture(scope="module")
def kubectl(cluster: Path) -> Kubectl:
    """kubectl on the cluster."""
    return Kubectl(toolchain.ensure([KUBERNETES])["kubectl"], cluster)


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own, gone afterwards."""
    name = f"test-stand-in-{uuid.uuid4().hex[:8]}"
    kubectl.run("create", "namespace", name)
    yield name
    kubectl.run("delete", "namespace", name, "--wait=false")


@pytest.fixture
def project(cli: Toolchain, tmp_path: Path, cluster: Path, namespace: str) -> Iterator[Project]:
    """A project whose objects go to the test's namespace."""
    made = Project(tmp_path, cli, {"KUBECONFIG": str(cluster)})
    made.set("kubernetes:namespace", namespace)
    yield made
    made.close()


def tell(kubectl: Kubectl, namespace: str, what: str) -> None:
    """What the pods of the namespace are to do from now on."""
    content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "what"}, "data": {"what": what}}
    kubectl.run("apply", "-n", namespace, "-f", "-", input=json.dumps(content))


def test_a_failed_job_prints_its_log_and_the_next_plain_up_runs_it_again(
    project: Project, kubectl: Kubectl, namespace: str
) -> None:
    tell(kubectl, namespace, "bad")
    project.write(JOB)
    failed = project.up(status=1)
    assert "checking the bad" in failed.output
    assert "lost 3 of 10 events" in failed.output
    assert "Job verdict failed: [BackoffLimitExceeded]" in failed.output
    (kept,) = project.resources("Job")
    assert kept["initErrors"]
    first = kubectl.get("job", "verdict", "-n", namespace)["metadata"]["uid"]

    tell(kubectl, namespace, "good")
    good = project.up()
    assert "lost 0 of 10 events" in good.output
    assert "lost 3 of 10 events" not in good.output
    assert good.counts() == {"replaced": 1, "unchanged": 1}
    assert kubectl.get("job", "verdict", "-n", namespace)["metadata"]["uid"] != first
    assert project.up().counts() == {"unchanged": 2}


def test_ctrl_c_while_a_job_runs_and_up_again_converges(project: Project, kubectl: Kubectl, namespace: str) -> None:
    tell(kubectl, namespace, "wait")
    project.write(JOB)
    running = project.begin_up()
    running.wait_for(lambda: "checking the wait" in running.output())
    running.interrupt()
    cut = running.end(30)
    assert cut.status != 0
    assert "Traceback" not in cut.output
    assert len(project.resources("Job")) == 1

    tell(kubectl, namespace, "good")
    again = project.up()
    assert "lost 0 of 10 events" in again.output
    assert again.counts() == {"replaced": 1, "unchanged": 1}
    project.destroy()
    assert kubectl.get("jobs,pods", "-n", namespace)["items"] == []


def test_a_crash_looping_deployment_fails_the_update_with_its_log(
    project: Project, kubectl: Kubectl, namespace: str
) -> None:
    tell(kubectl, namespace, "bad")
    project.write(DEPLOYMENT)
    running = project.begin_up()
    failed = running.end(240)
    assert failed.status != 0
    assert "has crashed 4 times, exit status 1" in failed.output
    assert "lost 3 of 10 events" in failed.output
    assert len(project.resources("Deployment")) == 1
