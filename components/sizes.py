"""What each workload asks of the cluster, by size. CPU in cores, memory in MiB.

There are no CPU limits on purpose: throttling would stall publishers and consumers at the worst
moment; requests share the CPU out, and the mirror and the stand-in model get the least of it. Memory has a
limit, for memory cannot be taken back. Our own models on GPUs have theirs by config
(components/vllm_model_settings.py); their row here is for the engine on CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts import names


@dataclass(frozen=True, slots=True)
class Resources:
    """CPU asked for, memory asked for, memory at most."""

    cpu: float
    memory: int
    limit: int

    @property
    def manifest(self) -> dict[str, Any]:
        """As a container's `resources`."""
        return {
            "requests": {"cpu": f"{round(self.cpu * 1000)}m", "memory": f"{self.memory}Mi"},
            "limits": {"memory": f"{self.limit}Mi"},
        }


TRANSITION = "transition"

SIZES: dict[str, dict[str, Resources]] = {
    "small": {
        names.REDIS_NAME: Resources(0.1, 128, 1024),
        names.KAFKA_NAME: Resources(0.15, 640, 1280),
        names.MIRROR_NAME: Resources(0.05, 96, 384),
        names.HOSTED_POSTGRES_NAME: Resources(0.1, 128, 768),
        names.POOLER_NAME: Resources(0.02, 16, 128),
        names.POOLER_AGENT_NAME: Resources(0.02, 64, 256),
        names.SELFHOSTED_POSTGRES_NAME: Resources(0.1, 128, 768),
        names.CARRIER_NAME: Resources(0.05, 96, 512),
        names.BASE_BACKUP_NAME: Resources(0.05, 64, 256),
        names.HOSTED_LLM_NAME: Resources(0.02, 256, 1024),
        names.OWN_LLM_NAME: Resources(0.02, 256, 1024),
        names.TRADING_ENGINE_NAME: Resources(0.1, 128, 512),
        names.LLM_ORCHESTRATOR_NAME: Resources(0.05, 96, 384),
        names.BACKTESTING_NAME: Resources(0.05, 256, 1536),
        names.MARKET_FEED_NAME: Resources(0.05, 128, 512),
        TRANSITION: Resources(0.1, 128, 1024),
    },
    "standard": {
        names.REDIS_NAME: Resources(1, 4096, 8192),
        names.KAFKA_NAME: Resources(1, 4096, 6144),
        names.MIRROR_NAME: Resources(0.25, 256, 1024),
        names.HOSTED_POSTGRES_NAME: Resources(1, 1024, 2048),
        names.POOLER_NAME: Resources(0.25, 64, 256),
        names.POOLER_AGENT_NAME: Resources(0.05, 96, 256),
        names.SELFHOSTED_POSTGRES_NAME: Resources(1, 4096, 8192),
        names.CARRIER_NAME: Resources(0.5, 256, 1024),
        names.BASE_BACKUP_NAME: Resources(0.25, 128, 512),
        names.HOSTED_LLM_NAME: Resources(1, 512, 2048),
        names.OWN_LLM_NAME: Resources(1, 512, 2048),
        names.TRADING_ENGINE_NAME: Resources(0.5, 256, 1024),
        names.LLM_ORCHESTRATOR_NAME: Resources(0.25, 128, 512),
        names.BACKTESTING_NAME: Resources(1, 1024, 4096),
        names.MARKET_FEED_NAME: Resources(0.25, 128, 512),
        TRANSITION: Resources(0.25, 256, 2048),
    },
}


def resources(size: str, workload: str) -> Resources:
    """The row of `workload` at `size`."""
    return SIZES[size][workload]
