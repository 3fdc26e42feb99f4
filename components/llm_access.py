"""What those get who ask language models, or move them: addresses, rights in Kubernetes, network edges. Pure.

All of it is the same at every stage, and names both sides, so that a switch restarts nobody: who answers is the route's
word.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

from components import vllm
from components.bus_access import adapter_rules, cutover_rules
from components.llm_settings import ROOT
from components.manifests import (
    cluster_role,
    cluster_role_binding,
    config_map,
    role,
    role_binding,
    rule,
    service_account,
)
from components.networking import allow, edge, pods_in, pods_of, to_api
from components.pods import Manifest
from components.settings import Settings
from contracts import names
from contracts.llm import Endpoint, Endpoints
from contracts.llm_moving import LlmMoving, Quality
from contracts.stages import Component, Side, backend_of

COMPONENT = Component.LLM_SERVICE
ORCHESTRATOR, CUTOVER = names.LLM_ORCHESTRATOR_NAME, names.LLM_CUTOVER_NAME
"""Apps and ServiceAccounts: of the adapter, and of the Transition Jobs."""
HOSTED, OURS = (backend_of(COMPONENT, side) for side in (Side.OLD, Side.NEW))
STAND_IN_MODEL = "smollm2-135m-instruct"
PROMPTS_FOLDER, PROMPTS_FILE = "/run/prompts", "prompts.jsonl"
PROMPTS_NAME = "llm-prompts"
"""The ConfigMap with the user's own prompts."""


def base_url(settings: Settings) -> str:
    """Where the hosted API is, with its version path."""
    host = f"{names.HOSTED_LLM_NAME}.{settings.namespaces.hosted}.svc.{settings.cluster_domain}"
    return settings.llm_service.base_url or f"http://{host}:{names.HOSTED_LLM_PORT}/v1"


def hosted_models(settings: Settings) -> dict[str, str]:
    """Alias -> model, for every alias of our own models. One that config leaves out is what `default` is."""
    given = settings.llm_service.models
    default = given.get("default", STAND_IN_MODEL)
    return {**dict.fromkeys(settings.llm_service.own.aliases_at(settings.size), default), **given}


def endpoints(settings: Settings) -> Endpoints:
    """Who answers an alias, at both sides."""
    url = base_url(settings)
    hosted = {alias: Endpoint(base_url=url, model=model) for alias, model in hosted_models(settings).items()}
    return Endpoints({HOSTED: hosted, OURS: vllm.endpoints(settings, settings.llm_service.own)})


def moving(settings: Settings) -> LlmMoving:
    """What a Transition is told of config."""
    llm = settings.llm_service
    return LlmMoving(
        canary_percent=llm.canary_percent,
        sample_percent=llm.sample_percent,
        quality=Quality(**llm.quality.model_dump(exclude={"prompts"})),
        prompts=f"{PROMPTS_FOLDER}/{PROMPTS_FILE}" if llm.quality.prompts is not None else None,
        budget=llm.budget,
        gpus=vllm.gpu_needs(settings, llm.own),
        own=_digest(llm.own.model_dump_json(exclude={"hf_token"})),
    )


def orchestrator_url() -> str:
    """The orchestrator, as callers of the backend's namespace see it."""
    return f"http://{ORCHESTRATOR}:{names.HTTP_PORT}/v1"


def prompts_text(settings: Settings) -> str:
    """The user's own prompts; empty where there are none. They were read once already, when config was checked."""
    path = settings.llm_service.quality.prompts
    return "" if path is None else (ROOT / Path(path)).read_text()


def prompts(settings: Settings) -> list[Manifest]:
    """The ConfigMap with the user's own prompts, if there are any."""
    text = prompts_text(settings)
    return [config_map(PROMPTS_NAME, settings.namespaces.backend, {PROMPTS_FILE: text})] if text else []


def prompts_mounts(settings: Settings) -> dict[str, tuple[str, bool]]:
    """Where a Transition finds them."""
    return {PROMPTS_FOLDER: ("prompts", True)} if settings.llm_service.quality.prompts is not None else {}


def prompts_volumes(settings: Settings) -> dict[str, Manifest]:
    """What is mounted there."""
    return {"prompts": {"configMap": {"name": PROMPTS_NAME}}} if prompts_mounts(settings) else {}


def prompts_hash(settings: Settings) -> dict[str, str]:
    """For a pod's annotation: other prompts are judged by anew. They are no secret."""
    text = prompts_text(settings)
    return {"prompts": _digest(text)} if text else {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def rights(settings: Settings) -> list[Manifest]:
    """Roles and bindings: the orchestrator is an adapter of this component. GPUs are facts of nodes, which are of no
    namespace: only where there are any to look for does a cutover see nodes."""
    namespace = settings.namespaces.backend
    made: list[Manifest] = []
    for account, rules in ((ORCHESTRATOR, adapter_rules(COMPONENT)), (CUTOVER, cutover_rules(COMPONENT))):
        made += [
            service_account(account, namespace),
            role(account, namespace, rules),
            role_binding(account, namespace, account, [account]),
        ]
    if settings.llm_service.own.engine_at(settings.size) == "vllm":
        name = f"{namespace}-{CUTOVER}"
        made += [
            cluster_role(name, [rule("", "nodes", ["list"])]),
            cluster_role_binding(name, name, CUTOVER, namespace),
        ]
    return made


def edges(settings: Settings) -> list[Manifest]:
    """Orchestrator and cutover reach both sides and the Kubernetes API, the cutover the orchestrator as well."""
    backend, llm = settings.namespaces.backend, settings.llm_service
    hosted = (
        edge("to", [pods_in(settings.namespaces.hosted, names.HOSTED_LLM_NAME)], [names.HOSTED_LLM_PORT])
        if llm.base_url is None
        else edge("to", [], [_port(llm.base_url)])
    )
    apps = dict.fromkeys(names.own_llm_name(alias) for alias in llm.own.aliases_at(settings.size).values())
    ours = edge("to", [pods_of(app) for app in apps], [names.OWN_LLM_PORT])
    front = edge("to", [pods_of(ORCHESTRATOR)], [names.HTTP_PORT])
    return [
        allow(f"{ORCHESTRATOR}-models", backend, pods_of(ORCHESTRATOR), egress=[hosted, ours, to_api()]),
        allow(CUTOVER, backend, pods_of(CUTOVER), egress=[hosted, ours, front, to_api()]),
    ]


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
