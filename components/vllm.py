"""Our own language models, as the rest of the program sees them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from components.manifests import secret
from components.pods import Manifest
from components.settings import Settings
from components.vllm_settings import VllmSettings
from contracts import names
from contracts.llm import Endpoint
from contracts.llm_memory import GpuNeeds

CALLERS = (names.LLM_ORCHESTRATOR_NAME,)
"""Apps of the backend's namespace that may ask."""


def token_secret(settings: Settings, own: VllmSettings, token: object) -> Manifest:
    """The Secret with our token, which exists at every stage: a pod that is to start must find it."""
    del own
    return secret(names.OWN_LLM_NAME, settings.namespaces.backend, {"api-key": token})


def endpoints(settings: Settings, own: VllmSettings) -> dict[str, Endpoint]:
    """Who answers for each alias."""
    made = {}
    for alias, stands_under in own.aliases_at(settings.size).items():
        app = names.own_llm_name(stands_under)
        host = f"{app}.{settings.namespaces.backend}.svc.{settings.cluster_domain}"
        made[alias] = Endpoint(base_url=f"http://{host}:{names.OWN_LLM_PORT}/v1", model=stands_under)
    return made


def gpu_needs(settings: Settings, own: VllmSettings) -> GpuNeeds:
    """What the cluster must have, for a preflight; nothing where the engine runs on CPU."""
    del settings, own
    return GpuNeeds(())


def manifests(
    settings: Settings, own: VllmSettings, key_hash: object, callers: Sequence[str] = CALLERS
) -> list[Manifest]:
    """What runs while our own models are deployed; their Secret (token_secret) exists at every stage."""
    del settings, own, key_hash, callers
    return []
