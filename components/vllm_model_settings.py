"""Stack config of one of our own models: what it is, how its engine runs it, how much it takes. Frozen.

What the keys mean for operators is told in docs/llm-own-models.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.config_errors import unfit
from contracts.llm_memory import Need, Shape, need

Argument = Annotated[str, Field(pattern=r"^--[a-z][a-z0-9_.-]*(=.*)?$")]
"""One argument of the engine with its value: --max-num-batched-tokens=8192."""

OURS: Mapping[str, str] = {
    **dict.fromkeys(("--api-key", "--hf-token"), "it would stand in the pod's arguments for all to read"),
    **dict.fromkeys(("--model", "--served-model-name", "--revision"), "callers would ask for another model"),
    **dict.fromkeys(("--host", "--port", "--uds", "--root-path", "--ssl-keyfile"), "nobody would find the server"),
    **dict.fromkeys(
        ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size"),
        "the pod would ask for other GPUs than its engine",
    ),
    **dict.fromkeys(
        ("--dtype", "--quantization", "--kv-cache-dtype", "--max-model-len", "--gpu-memory-utilization"),
        "the sum of its memory would be wrong",
    ),
    **dict.fromkeys(
        ("--max-num-seqs", "--tool-call-parser", "--enable-auto-tool-choice", "--chat-template", "--tokenizer-mode",
         "--config-format", "--load-format", "--shutdown-timeout", "--config"),
        "it would be given twice",
    ),
}  # fmt: skip
"""Arguments that are set here, and what would follow where they were given beside."""
_BITS = {"auto": 16, "bfloat16": 16, "float16": 16, "float32": 32}
_QUANTIZED_BITS = {"fp8": 8, "awq": 4, "awq_marlin": 4, "gptq": 4, "gptq_marlin": 4, "bitsandbytes": 4}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Replicas(_Model):
    """How many pods of a model there are."""

    min: int = Field(default=1, ge=1, le=64)
    """At least one: what wakes a model is its queue, and a model that is not there has none."""
    max: int | None = Field(default=None, ge=1, le=64)
    """None: as `min`."""

    @property
    def most(self) -> int:
        """`max`, or what stands for it."""
        return self.min if self.max is None else self.max

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        if self.most < self.min:
            raise unfit(f"max is {self.max} with min {self.min}: there is no such count", key="max", fix=str(self.min))
        return self


class ModelSettings(_Model):
    """One model: a Deployment of its own."""

    model: str = Field(min_length=1, pattern=r"^\S+$")
    """Its name at the hub, or a path in the cache's volume. llama_cpp: one that is in the image."""
    served_name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    """What it is called in the API. None: as the alias."""
    revision: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    """A commit of its repository: without it a restart may load other weights."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    quantization: str | None = Field(default=None, pattern=r"^[a-z0-9_-]+$")
    """How vLLM shall quantise, or read, its weights. None: as the model says."""
    weight_bits: Literal[4, 8, 16, 32] | None = None
    """Of a weight, for the sum of its memory. None: as quantization, else dtype have it."""
    cache_dtype: Literal["auto", "fp8", "fp8_e4m3", "fp8_e5m2"] = "auto"
    """Of keys and values."""
    max_model_len: int = Field(default=32768, ge=256)
    """Tokens of a question with its answer, at most."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Questions answered at once. None: what vLLM thinks right; llama_cpp: 2."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, lt=1)
    gpus: int = Field(default=1, ge=1, le=16)
    """Of each pod, all on one node."""
    tensor_parallel_size: int | None = Field(default=None, ge=1)
    """None: all its GPUs, and nothing else fits."""
    gpu_memory_gb: float | None = Field(default=None, gt=0)
    """Of one GPU, in GiB, as nvidia-smi shows it (a card sold with 24 GB has 22 to 24). None: nothing is summed."""
    shape: Shape | None = None
    """For the sum of its memory, from its config.json. None: nothing is summed."""
    format: Literal["auto", "mistral"] = "auto"
    """mistral: tokenizer, config and weights as Mistral publishes them."""
    tool_parser: str | None = Field(default=None, pattern=r"^[a-z0-9_-]+$")
    """Reads the model's calls of tools. None: they come back as plain text."""
    chat_template: str | None = Field(default=None, min_length=1)
    """The template itself, in Jinja. None: the model's own."""
    extra_args: tuple[Argument, ...] = ()
    """Further arguments of vLLM."""
    replicas: Replicas = Field(default_factory=Replicas)
    cache_gb: int = Field(default=50, ge=1)
    """Of the volume with its weights and what was compiled for them, in GiB."""
    cpu: float = Field(default=4, gt=0)
    memory_gb: int = Field(default=32, ge=1)
    """Of the pod, its shared memory included, in GiB."""
    shm_gb: int = Field(default=8, ge=1)
    """Shared memory, by which the processes of one engine talk, in GiB."""
    load_seconds: int = Field(default=1800, ge=30)
    """How long it may take to fetch and load the model, before its pod counts as failed."""

    @property
    def memory(self) -> Need | None:
        """What each of its GPUs must hold; None where its shape is not known."""
        if self.shape is None:
            return None
        bits = self.weight_bits or _QUANTIZED_BITS.get(self.quantization or "", _BITS[self.dtype])
        cache = _BITS[self.dtype] if self.cache_dtype == "auto" else 8
        return need(self.shape, weight_bits=bits, cache_bits=cache, tokens=self.max_model_len, gpus=self.gpus)

    @model_validator(mode="after")
    def _gpus_are_used(self) -> Self:
        if self.tensor_parallel_size not in (None, self.gpus):
            more = (self.tensor_parallel_size or 0) > self.gpus
            raise unfit(
                f"tensor_parallel_size is {self.tensor_parallel_size} with {self.gpus} gpus: "
                + ("the engine would not start" if more else "the others would be paid for and stand idle"),
                key="gpus",
                fix=str(self.tensor_parallel_size),
            )
        return self

    @model_validator(mode="after")
    def _memory_is_enough(self) -> Self:
        if self.shm_gb >= self.memory_gb:
            raise unfit(
                f"shm_gb is {self.shm_gb} of memory_gb {self.memory_gb}: shared memory is part of the pod's, which "
                "would be killed",
                key="memory_gb",
                fix=str(self.shm_gb + 8),
            )
        wanted = self.memory
        if wanted is None or self.gpu_memory_gb is None:
            return self
        given = self.gpu_memory_gb * self.gpu_memory_utilization
        if wanted.total > given:
            raise unfit(
                f"each GPU must hold {wanted.text}, and {self.gpu_memory_utilization:g} of {self.gpu_memory_gb:g} GiB "
                f"is {given:.1f} GiB: vLLM would not start. A shorter max_model_len, larger or more gpus, or smaller "
                "weights help",
                key="max_model_len",
                fix=str(_longest(wanted, given)),
            )
        return self

    @model_validator(mode="after")
    def _arguments_are_new(self) -> Self:
        for argument in self.extra_args:
            flag = argument.partition("=")[0].replace("_", "-")
            if flag in OURS:
                raise unfit(
                    f"extra_args has {flag}, which is set here: {OURS[flag]}",
                    key="extra_args",
                    fix="'[]' (and use the key for it)",
                )
        return self


def _longest(wanted: Need, given: float) -> int:
    """The longest max_model_len that `given` GiB allow, in steps of 256; 256 where not even that is."""
    left = given - wanted.weights - wanted.workspace
    return max(256, int(left / (wanted.cache / wanted.tokens)) // 256 * 256)


MISTRAL, CODELLAMA = "mistral-7b-instruct", "codellama-7b-instruct"
"""Names that callers know from before: what answers under them today is better."""


def gpu_models() -> dict[str, ModelSettings]:
    """What runs where config names no model. Both publish 8-bit weights, and leave embeddings and vision at 16."""
    return {
        "default": ModelSettings(
            model="mistralai/Ministral-3-8B-Instruct-2512",
            served_name=MISTRAL,
            format="mistral",
            tool_parser="mistral",
            weight_bits=8,
            gpu_memory_gb=22,
            shape=Shape(parameters=8.8, unquantized=1.5, layers=34, kv_heads=8, head_dim=128),
        ),
        "trading": ModelSettings(
            model="mistralai/Devstral-Small-2-24B-Instruct-2512",
            served_name=CODELLAMA,
            format="mistral",
            tool_parser="mistral",
            weight_bits=8,
            gpu_memory_gb=44,
            shape=Shape(parameters=24.0, unquantized=1.75, layers=40, kv_heads=8, head_dim=128),
            cache_gb=100,
        ),
    }


def cpu_models() -> dict[str, ModelSettings]:
    """What is in the image of llama.cpp."""
    small = "smollm2-135m-instruct"
    return {"default": ModelSettings(model=small, served_name=small, max_model_len=2048, load_seconds=300)}
