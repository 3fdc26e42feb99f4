"""The LLM orchestrator's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from contracts.names import (
    ENV_LLM_API_KEY,
    ENV_LLM_BASE_URL,
    ENV_LLM_MODELS,
    ENV_LLM_SERVICE_TYPE,
    ENV_LLM_TIMEOUT,
)
from services.common.settings import Env, EnvSettings

REQUIRED_ALIASES = ("default", "trading")
"""What callers of this project ask for; each must name a model."""


def parse_aliases(text: str) -> dict[str, str]:
    """`alias=MODEL,alias=MODEL` as a mapping. Raises ValueError saying what is wrong."""
    aliases: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        alias, sign, model = (part.strip() for part in item.partition("="))
        if not sign or not alias or not model:
            raise ValueError(f"{item!r} is not alias=MODEL")
        if alias in aliases:
            raise ValueError(f"the alias {alias!r} is given twice: it would be a matter of chance who answers")
        aliases[alias] = model
    missing = [alias for alias in REQUIRED_ALIASES if alias not in aliases]
    if missing:
        raise ValueError(f"it names no model for {', '.join(missing)}: requests for it would fail")
    return aliases


class OrchestratorSettings(EnvSettings):
    """See each field."""

    service_type: Annotated[str, Env(ENV_LLM_SERVICE_TYPE, "groq, openai or vllm")] = Field(
        "openai", pattern="^(groq|openai|vllm)$"
    )
    """Who answers; it names the backend in errors and metrics. The API is the same for all."""
    base_url: Annotated[str, Env(ENV_LLM_BASE_URL, "the endpoint with its version path: http://host:port/v1")] = Field(
        pattern="^https?://[^@]+$"
    )
    """The OpenAI-compatible endpoint. Credentials do not belong here: see `api_key`."""
    api_key: Annotated[SecretStr | None, Env(ENV_LLM_API_KEY, "the endpoint's key")] = None
    """None: requests go without an Authorization header."""
    models: Annotated[str, Env(ENV_LLM_MODELS, "default=MODEL,trading=MODEL")]
    """Aliases, and the models that they stand for at the endpoint."""
    timeout: Annotated[float, Env(ENV_LLM_TIMEOUT, "seconds, above 0")] = Field(60.0, gt=0, le=3600)
    """The longest wait for the first byte of an answer, and between two, in seconds."""

    @field_validator("models")
    @classmethod
    def _names_every_alias(cls, value: str) -> str:
        parse_aliases(value)
        return value

    @property
    def aliases(self) -> Mapping[str, str]:
        """Alias -> model at the endpoint."""
        return parse_aliases(self.models)
