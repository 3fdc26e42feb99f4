"""How much memory a language model takes of each GPU that it runs on. Pure.

vLLM takes `gpu_memory_utilization` of each GPU and keeps in it the weights, a workspace, and in what is left the keys
and values of every token that it has read (the KV cache). It does not start where that rest cannot hold one question of
the longest length. The sum of the cache is that of Kwon et al., "Efficient Memory Management for Large Language Model
Serving with PagedAttention" (SOSP 2023), section 3: a key and a value for each layer and head, 800 KB a token for
OPT-13B.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, RootModel

WORKSPACE_GIB = 2.0
"""On each GPU, beside weights and cache: the CUDA context, the largest activations, captured graphs. vLLM's own log
says 1 to 3 GiB; it depends on the batch, and is the one figure here that is not computed."""
_GIB = 2**30


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shape(_Record):
    """What of a model decides how much memory it takes; it stands in its config.json."""

    parameters: float = Field(gt=0, allow_inf_nan=False)
    """In billions, all of them (also where a token uses only some experts)."""
    unquantized: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Those that quantisation leaves at 16 bits, in billions: embeddings, a vision encoder."""
    layers: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    """Heads that keep keys and values: num_key_value_heads."""
    head_dim: int = Field(ge=1)

    def weight_bytes(self, bits: int) -> float:
        """Of all weights at `bits` a parameter."""
        whole = min(self.unquantized, self.parameters)
        return (self.parameters - whole) * 1e9 * bits / 8 + whole * 1e9 * max(bits, 16) / 8

    def token_bytes(self, bits: int) -> float:
        """Of the key and the value of one token, at `bits` a number."""
        return 2 * self.layers * self.kv_heads * self.head_dim * bits / 8


class Need(_Record):
    """What one GPU must hold, in GiB."""

    weights: float
    cache: float
    tokens: int
    """That the cache has room for at least."""
    workspace: float = WORKSPACE_GIB

    @property
    def total(self) -> float:
        """The sum."""
        return self.weights + self.cache + self.workspace

    @property
    def text(self) -> str:
        """The sum as people write it."""
        return (
            f"{self.weights:.1f} GiB of weights + {self.cache:.1f} GiB for {self.tokens} tokens + "
            f"{self.workspace:.1f} GiB to work in = {self.total:.1f} GiB"
        )


class GpuNeed(_Record):
    """What the pods of one model ask of the cluster. `memory`: of each GPU; None where the model's shape is unknown."""

    app: str
    model: str
    pods: int = Field(ge=1)
    gpus: int = Field(ge=1)
    """For each pod, all on one node."""
    utilization: float = Field(gt=0, le=1)
    """How much of a GPU's memory may be taken."""
    memory: Need | None = None

    def fits(self, gib: float) -> bool | None:
        """Whether GPUs of `gib` hold it; None where that is not known."""
        return None if self.memory is None else self.memory.total <= gib * self.utilization


class GpuNeeds(RootModel[tuple[GpuNeed, ...]]):
    """All of them; empty where no GPU is needed."""

    model_config = ConfigDict(frozen=True)

    @property
    def gpus(self) -> int:
        """Over all pods."""
        return sum(need.pods * need.gpus for need in self.root)


def need(shape: Shape, *, weight_bits: int, cache_bits: int, tokens: int, gpus: int = 1) -> Need:
    """What each of `gpus` GPUs must hold so that one question of `tokens` tokens, its answer included, is answered.

    Tensor parallelism gives each GPU its part of every layer, and its part of the heads with their cache; where there
    are fewer heads than GPUs, each GPU keeps a whole one.
    """
    cache = shape.token_bytes(cache_bits) * tokens / min(gpus, shape.kv_heads)
    return Need(weights=shape.weight_bytes(weight_bits) / gpus / _GIB, cache=cache / _GIB, tokens=tokens)
