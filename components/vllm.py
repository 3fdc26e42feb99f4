"""Our own language models: a Deployment a model, behind a Service, on the nodes with GPUs. Pure.

Where the engine is llama.cpp's, one Deployment on CPU with a small model stands for them, behind the same API, with the
same names and the same token. What is not made here: the Secret's place in the order of things, the route, and nodes
that Karpenter does not make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from components import vllm_engine, vllm_pools, vllm_scaling
from components.manifests import claim, config_map, deployment, disruption_budget, secret, service, service_account
from components.networking import allow, edge, namespace_of, pods_of
from components.pods import Manifest, Pod
from components.settings import Settings
from components.vllm_engine import PORT, SECRET, TEMPLATE, TOKEN_KEY
from components.vllm_model_settings import ModelSettings
from components.vllm_settings import VllmSettings
from contracts import names
from contracts.llm import Endpoint
from contracts.llm_memory import GpuNeed, GpuNeeds

CALLERS = (names.LLM_ORCHESTRATOR_NAME,)
"""Apps of the backend's namespace that may ask."""
_HUB_PORT = 443
_NODE_SECONDS = 900
"""Beyond the model's own loading: a node that comes, and the image, which has 10 GB, on it."""


def token_secret(settings: Settings, own: VllmSettings, token: object) -> Manifest:
    """The Secret with our token, which exists at every stage: a pod that is to start must find it."""
    return secret(SECRET, settings.namespaces.backend, token_data(own, token))


def token_data(own: VllmSettings, token: object) -> dict[str, object]:
    """What that Secret holds: pods are made anew where any of it is another."""
    hub = {} if own.hf_token is None else {vllm_engine.HUB_KEY: own.hf_token.get_secret_value()}
    return {TOKEN_KEY: token, **hub}


def endpoints(settings: Settings, own: VllmSettings) -> dict[str, Endpoint]:
    """Who answers for each alias: exactly the name under which its engine serves."""
    models, made = own.models_at(settings.size), {}
    for alias, stands_under in own.aliases_at(settings.size).items():
        app = names.own_llm_name(stands_under)
        host = f"{app}.{settings.namespaces.backend}.svc.{settings.cluster_domain}"
        made[alias] = Endpoint(base_url=f"http://{host}:{PORT}/v1", model=_served(stands_under, models[stands_under]))
    return made


def gpu_needs(settings: Settings, own: VllmSettings) -> GpuNeeds:
    """What the cluster must have, for a preflight; nothing where the engine runs on CPU."""
    if own.engine_at(settings.size) == "llama_cpp":
        return GpuNeeds(())
    return GpuNeeds(
        tuple(
            GpuNeed(
                app=names.own_llm_name(alias),
                model=model.model,
                pods=model.replicas.min,
                gpus=model.gpus,
                utilization=model.gpu_memory_utilization,
                memory=model.memory,
            )
            for alias, model in own.models_at(settings.size).items()
        )
    )


def manifests(
    settings: Settings, own: VllmSettings, key_hash: object, callers: Sequence[str] = CALLERS
) -> list[Manifest]:
    """What runs while our own models are deployed; their Secret (token_secret) exists at every stage."""
    made = _on_cpu if own.engine_at(settings.size) == "llama_cpp" else _on_gpus
    parts = [made(settings, own, alias, model, key_hash) for alias, model in own.models_at(settings.size).items()]
    shared = vllm_pools.node_pools(settings, own) if made is _on_gpus else []
    edges = [_edges(settings, own, names.own_llm_name(alias), callers) for alias in own.models_at(settings.size)]
    return [*shared, *edges, *(manifest for part in parts for manifest in part)]


def _on_gpus(
    settings: Settings, own: VllmSettings, alias: str, model: ModelSettings, key_hash: object
) -> list[Manifest]:
    app, namespace = names.own_llm_name(alias), settings.namespaces.backend
    template = {} if model.chat_template is None else {TEMPLATE: model.chat_template}
    storage_class = own.cache_class or settings.storage_class
    pod = Pod(
        app=app,
        container=vllm_engine.on_gpus(settings, own, app, model, _served(alias, model)),
        service_account=app,
        volumes={
            "cache": {"persistentVolumeClaim": {"claimName": app}},
            "shm": {"emptyDir": {"medium": "Memory", "sizeLimit": f"{model.shm_gb}Gi"}},
            **({"template": {"configMap": {"name": app}}} if template else {}),
        },
        hashes={"key": key_hash, **({"template": _hash(model.chat_template or "")} if template else {})},
        grace_seconds=vllm_engine.grace_seconds(own),
        placement=vllm_pools.placement(settings, own, app),
    )
    return [
        *_around(app, namespace),
        claim(app, namespace, storage=f"{model.cache_gb}Gi", storage_class=storage_class, access=own.cache_access),
        *([config_map(app, namespace, template)] if template else []),
        _deployment(pod, namespace, own, model),
        *vllm_scaling.manifests(own, app, namespace, model),
    ]


def _on_cpu(
    settings: Settings, own: VllmSettings, alias: str, model: ModelSettings, key_hash: object
) -> list[Manifest]:
    app, namespace = names.own_llm_name(alias), settings.namespaces.backend
    pod = Pod(
        app=app,
        container=vllm_engine.on_cpu(settings, own, app, model, _served(alias, model)),
        service_account=app,
        volumes={"key": {"secret": {"secretName": SECRET, "items": [{"key": TOKEN_KEY, "path": TOKEN_KEY}]}}},
        hashes={"key": key_hash},
        grace_seconds=vllm_engine.grace_seconds(own),
        placement=vllm_pools.spread(app),
    )
    return [*_around(app, namespace), deployment(pod, namespace, replicas=model.replicas.min)]


def _around(app: str, namespace: str) -> list[Manifest]:
    return [
        service_account(app, namespace),
        service(app, namespace, {"http": PORT}),
        disruption_budget(app, namespace),
    ]


def _deployment(pod: Pod, namespace: str, own: VllmSettings, model: ModelSettings) -> Manifest:
    """With as long as a model needs before it counts as failed, both for Kubernetes and for `pulumi up`."""
    alone = own.cache_access == "ReadWriteOnce"
    made = deployment(pod, namespace, replicas=model.replicas.min, recreate=alone)
    if vllm_scaling.scaled(own, model):
        # Who scales it says how many: stated here, every update would set them back.
        del made["spec"]["replicas"]
    patience = model.load_seconds + _NODE_SECONDS
    made["spec"]["progressDeadlineSeconds"] = patience
    made["metadata"]["annotations"] = {"pulumi.com/timeoutSeconds": str(patience)}
    return made


def _edges(settings: Settings, own: VllmSettings, app: str, callers: Sequence[str]) -> Manifest:
    """Callers come in, and Prometheus where it is wanted; out goes vLLM alone, to the hub. The token guards vLLM's API,
    but not all that it answers."""
    on_gpus = own.engine_at(settings.size) == "vllm"
    watching = [namespace_of(own.monitor.namespace)] if on_gpus and own.monitor.enabled else []
    return allow(
        app,
        settings.namespaces.backend,
        pods_of(app),
        ingress=[edge("from", [*(pods_of(caller) for caller in callers), *watching], [PORT])],
        egress=[edge("to", [], [_HUB_PORT])] if on_gpus else [],
    )


def _served(alias: str, model: ModelSettings) -> str:
    return model.served_name or alias


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
