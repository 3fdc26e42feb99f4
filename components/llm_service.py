"""The language model: llm-orchestrator's API in front of a hosted OpenAI-compatible one.

Where stack config names no hosted API, a stand-in runs in the `hosted` namespace: a real small model behind
the same API, with a key.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pulumi

from components.containers import container, python_service
from components.foundation import Foundation
from components.kube import content_hash, create_all, password
from components.manifests import deployment, disruption_budget, secret, service, service_account
from components.networking import allow, edge, pods_in, pods_labelled, pods_of
from components.pods import Manifest, Pod, Probes, env, http_probe
from components.settings import Settings
from contracts import names
from contracts.stages import Component

COMPONENT = Component.LLM_SERVICE
CLIENT = "llm-service"
"""The Secret with the key of the hosted API."""
STAND_IN_MODEL = "smollm2-135m-instruct"
LLM, ORCHESTRATOR = names.HOSTED_LLM_NAME, names.LLM_ORCHESTRATOR_NAME
HTTP_CLIENT = "crossover.dev/http-client"
"""Pods of the backend's namespace with this label, "true", may call the services' HTTP APIs."""


def stand_in(settings: Settings, key_hash: object) -> list[Manifest]:
    """The stand-in for a hosted API: llama-server with a small model."""
    namespace = settings.namespaces.hosted
    probe = http_probe("/health", names.HOSTED_LLM_PORT, period=10, failures=6)
    made = container(
        settings,
        LLM,
        "llm",
        args=[
            *("--host", "0.0.0.0", "--port", str(names.HOSTED_LLM_PORT)),
            *("--alias", STAND_IN_MODEL, "--ctx-size", "4096", "--parallel", "2", "--threads", "1"),
            *("--api-key-file", "/run/secrets/llm/api-key"),
        ],
        ports={"http": names.HOSTED_LLM_PORT},
        mounts={"/run/secrets/llm": ("key", True)},
        probes=Probes(
            startup=http_probe("/health", names.HOSTED_LLM_PORT, period=2, failures=150),
            readiness=probe,
            liveness=probe,
        ),
    )
    pod = Pod(
        app=LLM,
        container=made,
        service_account=LLM,
        volumes={"key": {"secret": {"secretName": LLM}}},
        hashes={"key": key_hash},
    )
    return [
        service_account(LLM, namespace),
        service(LLM, namespace, {"http": names.HOSTED_LLM_PORT}),
        disruption_budget(LLM, namespace),
        allow(
            LLM,
            namespace,
            pods_of(LLM),
            ingress=[edge("from", [pods_in(settings.namespaces.backend, ORCHESTRATOR)], [names.HOSTED_LLM_PORT])],
        ),
        deployment(pod, namespace),
    ]


def base_url(settings: Settings) -> str:
    """Where questions go, with the version path."""
    host = f"{LLM}.{settings.namespaces.hosted}.svc.{settings.cluster_domain}"
    return settings.llm_service.base_url or f"http://{host}:{names.HOSTED_LLM_PORT}/v1"


def models(settings: Settings) -> dict[str, str]:
    """Alias -> model. An alias that config leaves out is what `default` is."""
    given = settings.llm_service.models
    default = given.get("default", STAND_IN_MODEL)
    return {"default": default, "trading": default, **given}


def orchestrator(settings: Settings, key_hash: object) -> list[Manifest]:
    """The llm-orchestrator service."""
    namespace, llm = settings.namespaces.backend, settings.llm_service
    hosted = (
        edge("to", [pods_in(settings.namespaces.hosted, LLM)], [names.HOSTED_LLM_PORT])
        if llm.base_url is None
        else edge("to", [], [_port(llm.base_url)])
    )
    made = python_service(
        settings,
        ORCHESTRATOR,
        "services.llm_orchestrator",
        env=env(
            **{
                names.ENV_LLM_SERVICE_TYPE: llm.provider,
                names.ENV_LLM_BASE_URL: base_url(settings),
                names.ENV_LLM_MODELS: ",".join(f"{alias}={model}" for alias, model in models(settings).items()),
                names.ENV_LLM_TIMEOUT: f"{llm.timeout_seconds:g}",
            }
        ),
        env_from=[{"secretRef": {"name": CLIENT}}],
    )
    pod = Pod(
        app=ORCHESTRATOR, container=made, service_account=ORCHESTRATOR, hashes={"key": key_hash}, grace_seconds=45
    )
    callers = [pods_of(names.TRADING_ENGINE_NAME), pods_labelled(HTTP_CLIENT, "true")]
    return [
        service_account(ORCHESTRATOR, namespace),
        service(ORCHESTRATOR, namespace, {"http": names.HTTP_PORT}),
        disruption_budget(ORCHESTRATOR, namespace),
        allow(
            ORCHESTRATOR,
            namespace,
            pods_of(ORCHESTRATOR),
            ingress=[edge("from", callers, [names.HTTP_PORT])],
            egress=[hosted],
        ),
        deployment(pod, namespace),
    ]


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


class LlmService(pulumi.ComponentResource):
    """See the module."""

    ready: list[pulumi.Resource]

    def __init__(
        self, name: str, settings: Settings, foundation: Foundation, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        llm = settings.llm_service
        super().__init__("crossover:llm_service:LlmService", name, {"stage": llm.stage.value}, opts)
        inside = pulumi.ResourceOptions(parent=self, depends_on=foundation.ready)
        self.ready = []
        if llm.base_url is None or llm.api_key is None:
            key = password("hosted-llm-key", self)
            stored = create_all([secret(LLM, settings.namespaces.hosted, {"api-key": key})], inside)
            made = stand_in(settings, content_hash({"key": key}, foundation.salt))
            self.ready += create_all(made, pulumi.ResourceOptions(parent=self, depends_on=stored))
        else:
            key = pulumi.Output.secret(llm.api_key.get_secret_value())
        stored = create_all([secret(CLIENT, settings.namespaces.backend, {names.ENV_LLM_API_KEY: key})], inside)
        made = orchestrator(settings, content_hash({"key": key}, foundation.salt))
        behind = pulumi.ResourceOptions(parent=self, depends_on=[*stored, *self.ready])
        self.ready += create_all(made, behind)
        self.register_outputs({"stage": llm.stage.value, "url": f"http://{ORCHESTRATOR}:{names.HTTP_PORT}/v1"})
