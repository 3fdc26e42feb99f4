"""Stack config of the language models: the hosted API, our own, and the way from one to the other. Frozen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from components.config_errors import PROJECT, unfit
from components.sizes import resources
from components.vllm_settings import VllmSettings
from contracts import names
from contracts.llm_limits import Limits, conflict
from contracts.llm_moving import Budget, Quality
from contracts.stages import Stage

ROOT = Path(__file__).resolve().parent.parent
"""What paths in stack config start from: the project's folder."""
_PROVIDERS = {"openai": "https://api.openai.com/v1", "groq": "https://api.groq.com/openai/v1"}
_ADDRESS = re.compile(r"https?://[A-Za-z0-9\[\]:._-]*[A-Za-z0-9\]](:[0-9]{1,5})?(/[^\s]*)?")
_LIMITS = {field: f"limits.{field}" for field in Limits.model_fields}
"""Where a limit stands below crossover:llm_service."""
_MOST_PROMPT_BYTES = 900_000
"""What a ConfigMap is sure to hold."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QualitySettings(Quality):
    """The gate before our own models serve."""

    prompts: str | None = Field(default=None, min_length=1)
    """A file of your own prompts, asked beside those that are shipped; from the project's folder."""

    @field_validator("prompts")
    @classmethod
    def _can_be_read(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            size = len((ROOT / value).read_text().encode())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            raise unfit(f"{value} cannot be read ({reason}): nothing would be asked", fix="FILE") from None
        if not 0 < size <= _MOST_PROMPT_BYTES:
            raise unfit(
                f"{value} has {size} bytes, and takes 1 to {_MOST_PROMPT_BYTES}: a ConfigMap could not hold it, or "
                "nothing would be asked",
                fix="FILE",
            )
        return value


class LlmServiceSettings(_Model):
    """The language models: a hosted OpenAI-compatible API, then models of our own."""

    stage: Stage = Stage.MVP
    provider: Literal["openai", "groq"] = "openai"
    base_url: str | None = None
    """With its version path, without credentials. None: a stand-in, a small model of our own in the `hosted`
    namespace."""
    api_key: SecretStr | None = Field(default=None, min_length=1)
    models: dict[str, str] = Field(default_factory=dict)
    """Alias -> model at the provider. `default` and `trading` are asked for by the services."""
    timeout_seconds: float = Field(default=60.0, gt=0, le=600, allow_inf_nan=False)
    """The longest silence: between two parts of a stream, and until an answer comes whole."""
    limits: Limits = Field(default_factory=Limits)
    """What else a replica of the orchestrator waits for, holds, and tries again."""
    own: VllmSettings = Field(default_factory=VllmSettings)
    """Our own models, deployed from stage shadow on."""
    canary_percent: int = Field(default=100, ge=1, le=100)
    """Percent of the conversations that our own models answer at stage scale; the hosted ones answer the rest. Raised
    or lowered, it is watched as a switch is."""
    sample_percent: float = Field(default=5.0, ge=0, le=100, allow_inf_nan=False)
    """Percent of the calls that the side which does not answer is sent, too, in shadow and scale. 0: none. At stage
    scale the provider bills them."""
    quality: QualitySettings = Field(default_factory=QualitySettings)
    budget: Budget = Field(default_factory=Budget)
    """What a switch may cost callers while it is watched; beyond it traffic goes back by itself."""
    verdict_hours: float = Field(default=names.DEFAULT_VERDICT_HOURS, gt=0, allow_inf_nan=False)
    """How old a judgement of the quality gate may be: a switch that was cut off after it judges anew beyond it, and
    status calls it stale."""
    watch_seconds: float = Field(default=30.0, ge=0, le=3600, allow_inf_nan=False)
    """How long checks go on under traffic after a switch."""
    deadline_seconds: int = Field(default=3600, ge=60)
    """How long a Transition may take in all, the loading of models and the quality gate included."""

    @field_validator("base_url", mode="before")
    @classmethod
    def _is_an_address(cls, value: Any) -> Any:
        return _address(value) if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _has_no_emergency(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("emergency"):
            raise unfit(
                "emergency is set, and language models have none: going back asks our own models nothing in any case, "
                "and they hold nothing that could be lost",
                key="stage",
                fix=f"shadow (and pulumi config rm --path {PROJECT}:llm_service.emergency)",
            )
        return given

    @property
    def emergency(self) -> bool:
        """Never: see above."""
        return False

    @model_validator(mode="after")
    def _limits_go_together(self) -> Self:
        found = conflict(self.limits, self.timeout_seconds, _LIMITS)
        if found is not None:
            raise unfit(found.reason, key=_LIMITS[found.field], fix=f"{found.value:g}")
        return self

    @model_validator(mode="after")
    def _provider_is_whole(self) -> Self:
        if self.base_url is not None and self.api_key is None:
            raise unfit(
                "base_url is set without api_key: every question would be refused", key="api_key", fix="KEY --secret"
            )
        if self.base_url is None and self.api_key is not None:
            raise unfit(
                "api_key is set without base_url: it would be sent nowhere, for a stand-in answers",
                key="base_url",
                fix=_PROVIDERS[self.provider],
            )
        if self.base_url is not None and "default" not in self.models:
            raise unfit(
                "base_url is set, but models names no 'default': questions would have no model",
                key="models.default",
                fix="MODEL",
            )
        if self.base_url is None and self.models:
            alias = next(iter(self.models))
            raise unfit(
                f"models names {alias} without base_url: the stand-in has one model, and would refuse it",
                key="base_url",
                fix=_PROVIDERS[self.provider],
            )
        empty = [alias for alias, model in self.models.items() if not alias or not model]
        if empty:
            raise unfit(
                f"models.{empty[0]} is empty: questions would have no model", key=f"models.{empty[0]}", fix="MODEL"
            )
        return self


def _address(value: str) -> str:
    """`value`, which the path of a call may follow. Raises PydanticCustomError, which shows no secret."""
    usual, call = _PROVIDERS["openai"], "/chat/completions"
    if set("@?#") & set(value):
        raise unfit(
            "it holds credentials, a query or a fragment (not shown): it would stand in the stack's state and in logs, "
            "and no path could follow it",
            fix=f"an address such as {usual}, and the key in api_key",
        )
    if not _ADDRESS.fullmatch(value):
        raise unfit(f"{value!r} is no http or https address: nobody could be asked", fix=usual)
    if value.rstrip("/").endswith(call):
        base = value.rstrip("/").removesuffix(call)
        raise unfit(f"{value!r} is the address of a call: its path would stand there twice, and be refused", fix=base)
    return value


def too_large(limits: Limits, size: str) -> PydanticCustomError | None:
    """That a replica which is filled up to its `limits` would not fit into its pod at `size`; None where it does."""
    room, needed = resources(size, names.LLM_ORCHESTRATOR_NAME).limit, limits.memory_mib
    if needed <= room:
        return None
    calls = limits.in_flight_within(room)
    key, fix = ("max_in_flight", calls) if calls else ("bodies_mib", 4)
    return unfit(
        f"limits.max_in_flight is {limits.max_in_flight} with queue_length {limits.queue_length} and bodies_mib "
        f"{limits.bodies_mib}: a replica would need up to {needed:.0f} MiB, and its pod has {room} at size {size}: it "
        "would be killed with all calls that it holds",
        key=f"llm_service.limits.{key}",
        fix=str(fix),
    )
