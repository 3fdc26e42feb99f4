"""The `kubernetes` stand-in waits for what it makes. The test plays the kubelet meanwhile.

What needs a node's logs is tested on the local cluster: tests/cluster/test_stand_in_plugins.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.plugins.cli import Project, Running
from tests.plugins.control_plane import ControlPlane
from tests.plugins.kubelet import Kubelet

pytestmark = pytest.mark.plugins

START = """
    import pulumi
    import pulumi_kubernetes as k8s

    labels = {"app": "a"}
    version = pulumi.Config().get("version") or "1"
    template = {
        "metadata": {"labels": labels, "annotations": {"version": version}},
        "spec": {"containers": [{"name": "main", "image": "localhost/none:local"}]},
    }
"""
JOB = (
    START
    + """
    k8s.batch.v1.Job(
        "work",
        metadata={"name": "work", "annotations": {"pulumi.com/replaceUnready": "true"}},
        spec={"backoffLimit": 0, "template": {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}},
    )
"""
)
DEPLOYMENT = (
    START
    + """
    made = k8s.apps.v1.Deployment(
        "server",
        metadata={"name": "server"},
        spec={"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    )
    later = pulumi.ResourceOptions(depends_on=[made])
    k8s.core.v1.ConfigMap("later", metadata={"name": "later"}, data={"a": "1"}, opts=later)
"""
)
STATEFUL_SET = (
    START
    + """
    k8s.apps.v1.StatefulSet(
        "store",
        metadata={"name": "store"},
        spec={"replicas": 2, "serviceName": "store", "selector": {"matchLabels": labels}, "template": template},
    )
"""
)


def pods(running: Running, kubelet: Kubelet, number: int, version: str = "1") -> list[dict[str, Any]]:
    """Waits until there are `number` pods of that version, while the update runs."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [p for p in kubelet.pods("app=a") if p["metadata"]["annotations"]["version"] == version]
        return len(found) == number

    running.wait_for(there)
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


def job_pod(running: Running, kubelet: Kubelet, after: str = "") -> dict[str, Any]:
    """The Job's pod, once it is there: another than the one with the uid `after`."""
    running.wait_for(lambda: any(pod["metadata"]["uid"] != after for pod in kubelet.pods("job-name=work")))
    return next(pod for pod in kubelet.pods("job-name=work") if pod["metadata"]["uid"] != after)


def test_a_job_is_waited_for(kube_project: Project, kubelet: Kubelet) -> None:
    kube_project.write(JOB)
    running = kube_project.begin_up()
    pod = job_pod(running, kubelet)
    running.wait_for(lambda: "Job work: 1 active" in running.output())
    kubelet.succeed(pod)
    result = running.end()
    assert (result.status, result.counts()) == (0, {"created": 2}), result.output
    assert kube_project.up().counts() == {"unchanged": 2}


def test_a_failed_job_fails_the_update_stays_in_state_and_runs_again(kube_project: Project, kubelet: Kubelet) -> None:
    kube_project.write(JOB)
    running = kube_project.begin_up()
    first = job_pod(running, kubelet)
    kubelet.fail(first, 3)
    result = running.end()
    assert result.status != 0
    assert "Job work failed: [BackoffLimitExceeded]" in result.output
    assert "exit status 3" in result.output
    (kept,) = kube_project.resources("Job")
    assert any("Job work failed" in reason for reason in kept["initErrors"])

    # The next update runs it again, though nothing changed in the program.
    running = kube_project.begin_up()
    kubelet.succeed(job_pod(running, kubelet, after=first["metadata"]["uid"]))
    again = running.end()
    assert (again.status, again.counts()) == (0, {"replaced": 1, "unchanged": 1}), again.output
    (made,) = kube_project.resources("Job")
    assert "initErrors" not in made


def test_ctrl_c_while_waiting_leaves_state_that_the_next_update_takes_up(
    kube_project: Project, kubelet: Kubelet, plane: ControlPlane, namespace: str
) -> None:
    kube_project.write(DEPLOYMENT)
    running = kube_project.begin_up()
    pods(running, kubelet, 2)
    running.wait_for(lambda: "0 of 2 replicas are available" in running.output())
    running.interrupt()
    result = running.end(20)
    assert result.status != 0
    assert "the update was cancelled while waiting" in result.output
    assert "Traceback" not in result.output
    exported = json.loads(kube_project.run("stack", "export").output)
    assert not exported["deployment"].get("pending_operations")
    assert len(kube_project.resources("Deployment")) == 1
    uid = plane.get(namespace, "deployment", "server")["metadata"]["uid"]

    running = kube_project.begin_up()
    for pod in pods(running, kubelet, 2):
        kubelet.ready(pod)
    again = running.end()
    assert (again.status, again.counts()) == (0, {"created": 1, "updated": 1, "unchanged": 1}), again.output
    assert plane.get(namespace, "deployment", "server")["metadata"]["uid"] == uid


def test_a_deployment_rolls_before_what_depends_on_it_is_made(kube_project: Project, kubelet: Kubelet) -> None:
    kube_project.write(DEPLOYMENT)
    running = kube_project.begin_up()
    for pod in pods(running, kubelet, 2):
        assert "ConfigMap later" not in running.output()
        kubelet.ready(pod)
    assert running.end().counts() == {"created": 3}

    kube_project.set("version", "2")
    running = kube_project.begin_up()
    # One at a time: the controller makes the second new pod once the first is ready.
    kubelet.ready(pods(running, kubelet, 1, "2")[0])
    second = pods(running, kubelet, 2, "2")
    assert running.output().count("updated (") == 0
    for pod in second:
        kubelet.ready(pod)
    rolled = running.end()
    assert (rolled.status, rolled.counts()) == (0, {"updated": 1, "unchanged": 2}), rolled.output


def test_a_deployment_whose_pods_are_broken_fails_without_waiting_for_its_time(
    kube_project: Project, kubelet: Kubelet
) -> None:
    kube_project.write(DEPLOYMENT)
    running = kube_project.begin_up()
    for pod in pods(running, kubelet, 2):
        kubelet.has_no_image(pod)
    result = running.end(30)
    assert result.status != 0
    assert "[ErrImageNeverPull] the image is not present" in result.output
    assert len(kube_project.resources("Deployment")) == 1
    assert kube_project.resources("ConfigMap") == []


def test_a_stateful_set_is_waited_for_pod_by_pod(kube_project: Project, kubelet: Kubelet) -> None:
    kube_project.write(STATEFUL_SET)
    running = kube_project.begin_up()
    for number in (1, 2):
        kubelet.ready(pods(running, kubelet, number)[-1])
    result = running.end()
    assert (result.status, result.counts()) == (0, {"created": 2}), result.output


def test_a_claim_is_waited_for_until_it_is_bound(kube_project: Project, plane: ControlPlane, namespace: str) -> None:
    kube_project.write("""
        import pulumi_kubernetes as k8s

        import pulumi
        size = {"requests": {"storage": "1Mi"}}
        storage = pulumi.Config("kubernetes").require("namespace")
        spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage, "resources": size}
        k8s.core.v1.PersistentVolumeClaim("data", metadata={"name": "data"}, spec=spec)
    """)
    running = kube_project.begin_up()
    running.wait_for(lambda: "PersistentVolumeClaim data is pending" in running.output())
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Mi"},
            "storageClassName": namespace,
            "hostPath": {"path": "/nowhere"},
        },
    }
    plane.kubectl.run("apply", "-f", "-", input=json.dumps(volume))
    result = running.end()
    assert (result.status, result.counts()) == (0, {"created": 2}), result.output
    (claim,) = kube_project.resources("PersistentVolumeClaim")
    assert claim["outputs"]["status"]["phase"] == "Bound"
