"""Our own models as manifests, for tests: by kind and name, under a given config."""

from __future__ import annotations

from typing import Any

from components import vllm
from components.pods import Manifest
from components.settings import Settings, parse
from components.vllm_settings import VllmSettings

KEY_HASH = "hash-of-the-token"
KARPENTER: dict[str, Any] = {
    "kind": "karpenter",
    "node_class": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "gpu"},
    "limits": {"nvidia.com/gpu": 9, "cpu": "200"},
}
KEDA: dict[str, Any] = {"kind": "keda", "prometheus": "http://prometheus-operated.monitoring.svc:9090"}
MONITOR: dict[str, Any] = {"enabled": True, "labels": {"release": "prometheus"}}
GROWING: dict[str, Any] = {"model": "org/large", "gpus": 2, "replicas": {"min": 2, "max": 3}}


def settings(**given: Any) -> Settings:
    """Stack config at size standard, so that vLLM is the engine."""
    return parse("local", {"kube_context": "c", **given})


class Rendered:
    """What one config makes."""

    def __init__(self, given: Settings | None = None, **own: Any) -> None:
        self.settings = given or settings()
        self.own = VllmSettings.model_validate(own)
        self.manifests = vllm.manifests(self.settings, self.own, KEY_HASH)

    def one(self, kind: str, name: str) -> Manifest:
        """That of a kind and name."""
        (found,) = (m for m in self.of(kind) if m["metadata"]["name"] == name)
        return found

    def of(self, kind: str) -> list[Manifest]:
        """All of a kind."""
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def pod(self, name: str) -> Manifest:
        """The spec of a Deployment's pods."""
        found: Manifest = self.one("Deployment", name)["spec"]["template"]["spec"]
        return found

    def container(self, name: str) -> Manifest:
        """Their one container."""
        (found,) = self.pod(name)["containers"]
        assert isinstance(found, dict)
        return found

    def argument(self, name: str, flag: str) -> str | None:
        """The value of vLLM's argument `flag`; None where it is not given."""
        found = [arg.partition("=")[2] for arg in self.container(name)["args"] if arg.partition("=")[0] == f"--{flag}"]
        assert len(found) < 2
        return found[0] if found else None
