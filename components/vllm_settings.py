"""Stack config of our own models: which there are, by alias, and what all of them share. Frozen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.llm import REQUIRED_ALIASES

Alias = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""What callers ask for; it becomes part of a DNS label."""


class VllmSettings(BaseModel):
    """Our own models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["vllm", "llama_cpp"] | None = None
    """llama_cpp: llama.cpp's server on CPU, with a small model from the image `llm`. None: that at size small, else
    vllm."""
    aliases: dict[Alias, Alias] = Field(default_factory=dict)
    """Further aliases, each for one that is there."""

    def engine_at(self, size: str) -> Literal["vllm", "llama_cpp"]:
        """The engine that runs at `size`."""
        return self.engine or ("llama_cpp" if size == "small" else "vllm")

    def aliases_at(self, size: str) -> dict[str, str]:
        """Every alias -> the one that its model stands under."""
        del size
        return {**{alias: alias for alias in REQUIRED_ALIASES}, **self.aliases}
