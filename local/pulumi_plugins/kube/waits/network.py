"""Services: someone answers, and a load balancer has an address."""

from __future__ import annotations

from local.pulumi_plugins.kube.objects import Object, dig, name_of
from local.pulumi_plugins.kube.waits.base import Source, Verdict, View, Wait, in_namespace, ready, waiting


def judge(view: View) -> Verdict:
    """Ready once an endpoint is; at once where Kubernetes makes none, or nobody selects any."""
    service = view.subject or {}
    name, spec = name_of(service), dig(service, "spec", default={})
    kind = spec.get("type", "ClusterIP")
    if kind == "ExternalName":
        return ready(f"Service {name} is a name only")
    if kind == "LoadBalancer" and not dig(service, "status", "loadBalancer", "ingress"):
        return waiting(f"Service {name}: waiting for the load balancer's address")
    if spec.get("clusterIP") == "None" or not spec.get("selector"):
        return ready(f"Service {name} exists")
    if any(_serves(endpoint) for piece in view.get("slices") for endpoint in piece.get("endpoints") or []):
        return ready(f"Service {name} has endpoints")
    labels = ",".join(f"{key}={value}" for key, value in sorted(spec["selector"].items()))
    return waiting(
        f"Service {name}: no pod with {labels} is ready",
        (f"Service {name} selects pods with {labels}: are there any, and do they become ready?",),
    )


def _serves(endpoint: Object) -> bool:
    # A missing `ready` is to be read as true (discovery.k8s.io/v1).
    return dig(endpoint, "conditions", "ready", default=True) is not False


def _sources(subject: Object) -> list[Source]:
    if dig(subject, "spec", "clusterIP") == "None" or not dig(subject, "spec", "selector"):
        return []
    path = in_namespace(subject, "endpointslices", "/apis/discovery.k8s.io/v1")
    return [Source("slices", path, {"labelSelector": f"kubernetes.io/service-name={name_of(subject)}"})]


SERVICE = Wait(judge, seconds=600.0, sources=_sources)
