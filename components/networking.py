"""Who may talk to whom: nobody, but for the edges made here. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.manifests import metadata
from components.pods import Manifest

API_PORTS = (443, 6443)
"""Where API servers answer, before and after a Service's translation. Their address is the cluster's
secret: it differs by platform and is often no pod, so that no selector can name it."""
DNS_PORTS = (53,)


def pods_of(app: str) -> Manifest:
    """The pods of an app, in the policy's own namespace."""
    return {"podSelector": {"matchLabels": {"app": app}}}


def pods_labelled(label: str, value: str) -> Manifest:
    """Pods with a label, in the policy's own namespace."""
    return {"podSelector": {"matchLabels": {label: value}}}


def namespace_of(namespace: str) -> Manifest:
    """All pods of another namespace."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def pods_in(namespace: str, app: str) -> Manifest:
    """The pods of an app in another namespace."""
    return {**namespace_of(namespace), **pods_of(app)}


def edge(direction: str, peers: Sequence[Manifest], ports: Sequence[int], protocols: Sequence[str] = ("TCP",)) -> Any:
    """One allowed direction. No peers: anywhere."""
    made: Manifest = {"ports": [{"port": port, "protocol": protocol} for port in ports for protocol in protocols]}
    return made | ({direction: list(peers)} if peers else {})


def allow(
    name: str,
    namespace: str,
    selector: Manifest,
    *,
    ingress: Sequence[Manifest] = (),
    egress: Sequence[Manifest] = (),
) -> Manifest:
    """A NetworkPolicy for the pods that `selector` (as pods_of makes it) names."""
    kinds = [kind for kind, rules in (("Ingress", ingress), ("Egress", egress)) if rules]
    spec: Manifest = {**selector, "policyTypes": kinds}
    if ingress:
        spec["ingress"] = list(ingress)
    if egress:
        spec["egress"] = list(egress)
    return {"kind": "NetworkPolicy", "metadata": metadata(name, namespace), "spec": spec}


def deny_all(namespace: str) -> Manifest:
    """Every pod of the namespace starts with no edges at all."""
    return {
        "kind": "NetworkPolicy",
        "metadata": metadata("default-deny", namespace),
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }


def allow_dns(namespace: str) -> Manifest:
    """Every pod may look names up, in kube-system alone."""
    system = namespace_of("kube-system")
    return allow("allow-dns", namespace, {"podSelector": {}}, egress=[edge("to", [system], DNS_PORTS, ("UDP", "TCP"))])


def to_api() -> Manifest:
    """Egress to the Kubernetes API."""
    edge_made: Manifest = edge("to", [], API_PORTS)
    return edge_made
