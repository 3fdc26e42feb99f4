"""Stack config of our own models: which there are, by alias, and what all of them share. Frozen.

What the keys mean for operators is told in docs/llm-own-models.md.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from components.config_errors import unfit
from components.vllm_model_settings import ModelSettings, cpu_models, gpu_models
from components.vllm_pool_settings import GPU, MonitorSettings, PoolSettings, ScalingSettings
from contracts.llm import REQUIRED_ALIASES

Alias = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""What callers ask for; it becomes part of a DNS label."""


class VllmSettings(BaseModel):
    """Our own models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["vllm", "llama_cpp"] | None = None
    """llama_cpp: llama.cpp's server on CPU, with a small model from the image `llm`. None: that at size small, else
    vllm."""
    image: str = Field(default="docker.io/vllm/vllm-openai:v0.33.0", pattern=r"^\S+$")
    """Of vLLM, whose publisher it comes from; llama.cpp's is crossover:images' `llm`."""
    models: dict[Alias, ModelSettings] = Field(default_factory=dict)
    """By alias; empty: gpu_models or cpu_models of components/vllm_model_settings.py."""
    aliases: dict[Alias, Alias] = Field(default_factory=dict)
    """Further aliases, each for a model of `models`: no pods of their own."""
    pools: PoolSettings = Field(default_factory=PoolSettings)
    scaling: ScalingSettings = Field(default_factory=ScalingSettings)
    monitor: MonitorSettings = Field(default_factory=MonitorSettings)
    hf_token: SecretStr | None = None
    """For models that the hub gives only to who accepted their licence."""
    cache_access: Literal["ReadWriteMany", "ReadWriteOnce"] = "ReadWriteMany"
    """ReadWriteOnce: of a model's pods there is one, and a new one waits until the old one is gone."""
    cache_class: str = ""
    """StorageClass of the caches. Empty: crossover:storage_class."""
    shutdown_seconds: int = Field(default=120, ge=0, le=3600)
    """How long answers under way may take to end once their pod is told to."""

    def engine_at(self, size: str) -> Literal["vllm", "llama_cpp"]:
        """The engine that runs at `size`."""
        return self.engine or ("llama_cpp" if size == "small" else "vllm")

    def models_at(self, size: str) -> dict[str, ModelSettings]:
        """Alias -> model, a Deployment each."""
        return cpu_models() if self._shipped_at(size) else self._gpu_models()

    def aliases_at(self, size: str) -> dict[str, str]:
        """Every alias -> the one that its model stands under."""
        models = self.models_at(size)
        if self._shipped_at(size):
            return dict.fromkeys([*REQUIRED_ALIASES, *self.aliases], next(iter(models)))
        return {**{alias: alias for alias in models}, **self.aliases}

    def _shipped_at(self, size: str) -> bool:
        """Whether the one model in the image of llama.cpp answers for all aliases."""
        return not self.models and self.engine_at(size) == "llama_cpp"

    def _gpu_models(self) -> dict[str, ModelSettings]:
        """Those of config, else those by default that are not answered by another one."""
        return self.models or {alias: model for alias, model in gpu_models().items() if alias not in self.aliases}

    @model_validator(mode="after")
    def _aliases_lead_somewhere(self) -> Self:
        models = self._gpu_models()
        for alias, target in self.aliases.items():
            if alias in models:
                raise unfit(f"aliases and models both have {alias}: it would be two models", key="aliases", fix="'{}'")
            if target not in models:
                known = ", ".join(models) or "none that is left"
                raise unfit(
                    f"aliases.{alias} is {target!r}, and models has only {known}: nobody would answer",
                    key=f"aliases.{alias}",
                    fix=next(iter(models), "ALIAS"),
                )
        missing = [alias for alias in REQUIRED_ALIASES if alias not in {**models, **self.aliases}]
        if missing:
            raise unfit(
                f"models has none for {', '.join(missing)}: the services' questions would fail",
                key=f"aliases.{missing[0]}",
                fix=next(iter(models)),
            )
        return self

    @model_validator(mode="after")
    def _pods_can_be_made(self) -> Self:
        models = self._gpu_models()
        for alias, model in models.items():
            grows = model.replicas.most > model.replicas.min
            if self.cache_access == "ReadWriteOnce" and model.replicas.most > 1:
                raise unfit(
                    f"cache_access is ReadWriteOnce and models.{alias} has up to {model.replicas.most} pods: a second "
                    "one, on another node, would never get the volume",
                    key="cache_access",
                    fix="ReadWriteMany",
                )
            if grows and self.scaling.kind == "none":
                raise unfit(
                    f"models.{alias}.replicas.max is {model.replicas.most} and scaling.kind none: there would never be "
                    f"more than {model.replicas.min}",
                    key="scaling.kind",
                    fix="keda",
                )
        if self.scaling.kind != "none" and not self.monitor.enabled:
            raise unfit(
                f"scaling.kind is {self.scaling.kind} and monitor.enabled false: Prometheus would not be let in, and "
                "have no figures to scale by",
                key="monitor.enabled",
                fix="true",
            )
        return self

    @model_validator(mode="after")
    def _pool_is_large_enough(self) -> Self:
        if self.pools.kind != "karpenter" or self.engine == "llama_cpp":
            return self
        models = self._gpu_models().values()
        # A changed model's new pod comes before the old one goes.
        spare = max(model.gpus for model in models) if self.cache_access == "ReadWriteMany" else 0
        wanted, limit = sum(model.gpus * model.replicas.most for model in models) + spare, int(self.pools.limits[GPU])
        if limit < wanted:
            raise unfit(
                f"pools.limits has {limit} {GPU}, and all pods with one to spare for a change need {wanted}: some "
                "would wait for ever",
                key=f'pools.limits["{GPU}"]',
                fix=str(wanted),
            )
        return self
