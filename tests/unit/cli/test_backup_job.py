"""The Job in which a backup is made: its pod, what it says, and what is never in an argument."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from adapters.routes import backup_job
from adapters.routes.backup_job import BackupJob
from adapters.routes.backup_job import backup_job as made_after
from adapters.routes.exporting import plain
from adapters.routes.jobs import JobFailed, KubernetesJobs
from contracts.stages import Stage
from tests.components.rendering import at

REPORT = json.dumps({"report": {"subject": "s"}, "files": {}})


def _transition() -> dict[str, Any]:
    return copy.deepcopy(at(Stage.SHADOW).one("Job", "transition-database").manifest)


def test_its_pod_has_what_the_transition_has_and_a_server_to_throw_away() -> None:
    transition = _transition()
    job = made_after(transition, 600)
    pod, before = job["spec"]["template"]["spec"], transition["spec"]["template"]["spec"]
    (container,), (pattern,) = pod["containers"], before["containers"]
    assert (container["command"], container["args"]) == (["python", "-m", "validation.backup"], ["make"])
    assert (container["image"], container["envFrom"]) == (pattern["image"], pattern["envFrom"])
    assert pod["serviceAccountName"] == before["serviceAccountName"]  # the network's rules go by its label, kept too
    assert job["spec"]["template"]["metadata"]["labels"]["app"] == "database-cutover"
    (scratch,) = pod["initContainers"]
    assert scratch["restartPolicy"] == "Always"
    assert scratch["image"] == "localhost/crossover/postgres:local"
    assert scratch["securityContext"] == container["securityContext"]
    assert "envFrom" not in scratch and "env" not in scratch  # it gets no address and no password
    for one in (container, scratch):
        mounted = {mount["name"] for mount in one["volumeMounts"]}
        assert "scratch" in mounted and mounted <= {volume["name"] for volume in pod["volumes"]}
    assert job["spec"]["activeDeadlineSeconds"] == 600
    assert job["spec"]["backoffLimit"] == 0


def test_a_transition_of_an_older_version_is_told() -> None:
    transition = _transition()
    del transition["metadata"]["annotations"]["crossover.dev/postgres-image"]
    with pytest.raises(JobFailed, match="Run pulumi up"):
        made_after(transition, 600)


class Jobs:
    """Says one thing after the other."""

    def __init__(self, *said: tuple[str, str]) -> None:
        self.left = list(said)
        self.removed = ""

    def transition(self, component: object) -> dict[str, Any]:
        return _transition()

    def begin(self, job: dict[str, Any]) -> str:
        return "job-1"

    def remove(self, name: str) -> None:
        self.removed = name

    def said(self, name: str, container: str) -> tuple[str, str]:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def _lines(jobs: Jobs) -> tuple[list[str], dict[str, Any] | str]:
    lines: list[str] = []
    typed: Any = jobs
    with BackupJob(typed, None, "trading", seconds=5) as job:
        try:
            return lines, job.await_report(lines.append)
        except JobFailed as error:
            return lines, str(error)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_job, "_POLL_SECONDS", 0.0)


def test_each_line_is_told_once_and_the_report_is_the_last() -> None:
    jobs = Jobs(("Pending", ""), ("Running", "one\n"), ("Running", "one\ntwo\n" + REPORT[:20]),
                ("Running", f"one\ntwo\n{REPORT}\n"))  # fmt: skip
    lines, found = _lines(jobs)
    assert lines == ["one", "two"]
    assert found == json.loads(REPORT)
    assert jobs.removed == "job-1"


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_ends_without_a_report_made_none(phase: str) -> None:
    jobs = Jobs(("Running", "one\n"), (phase, "one\nno backup was made: refused"))
    lines, found = _lines(jobs)
    assert lines == ["one", "no backup was made: refused"]
    assert isinstance(found, str) and "without a report" in found
    assert jobs.removed == "job-1"


def test_what_is_exported_could_be_applied_again() -> None:
    found = plain(
        {
            "metadata": {
                "name": "m", "uid": "u", "resourceVersion": "1", "managedFields": [], "labels": {"app": "a"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "data": {"a": "b"},
            "status": {"ready": True},
        }
    )  # fmt: skip
    assert found == {"metadata": {"name": "m", "labels": {"app": "a"}}, "data": {"a": "b"}}


def test_no_such_jobs_method_is_missing() -> None:
    """What stands in for it here is there."""
    assert all(hasattr(KubernetesJobs, name) for name in ("transition", "begin", "remove", "said", "pod_of"))
