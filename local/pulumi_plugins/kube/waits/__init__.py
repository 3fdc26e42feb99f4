"""When is an object ready? One pure judge a kind, and one loop that feeds them from watches."""

from __future__ import annotations

from local.pulumi_plugins.kube.objects import Kind
from local.pulumi_plugins.kube.waits.base import Wait
from local.pulumi_plugins.kube.waits.jobs import JOB
from local.pulumi_plugins.kube.waits.network import SERVICE
from local.pulumi_plugins.kube.waits.pods import POD
from local.pulumi_plugins.kube.waits.registrations import DEFINITION
from local.pulumi_plugins.kube.waits.storage import CLAIM
from local.pulumi_plugins.kube.waits.workloads import DAEMON_SET, DEPLOYMENT, STATEFUL_SET

WAITS: dict[tuple[str, str], Wait] = {
    ("apps", "DaemonSet"): DAEMON_SET,
    ("apps", "Deployment"): DEPLOYMENT,
    ("apps", "StatefulSet"): STATEFUL_SET,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): DEFINITION,
    ("batch", "Job"): JOB,
    ("", "PersistentVolumeClaim"): CLAIM,
    ("", "Pod"): POD,
    ("", "Service"): SERVICE,
}
"""The kinds whose readiness is waited for. All others are ready once they exist."""


def wait_for(kind: Kind) -> Wait | None:
    """How to wait for objects of `kind`, or None where there is nothing to wait for."""
    return WAITS.get((kind.group, kind.name))
