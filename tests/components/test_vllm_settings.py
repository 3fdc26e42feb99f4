"""Config of our own models that could not work is refused, with the value, what would follow, and the fix."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from components.config_errors import problems_of
from components.vllm_model_settings import ModelSettings, gpu_models
from components.vllm_pool_settings import MonitorSettings, PoolSettings, ScalingSettings
from components.vllm_settings import VllmSettings
from tests.components.vllm_rendering import KARPENTER, KEDA

DOCUMENT = (Path(__file__).parents[2] / "docs" / "llm-own-models.md").read_text()
SHAPE = {"parameters": 7.0, "layers": 32, "kv_heads": 8, "head_dim": 128}


class _Stack(BaseModel):
    own: VllmSettings


def _problems(**own: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        _Stack.model_validate({"own": own})
    return problems_of(caught.value, "local", _Stack)


def _model(**given: Any) -> dict[str, Any]:
    """The config of one model that answers for both aliases."""
    return {"models": {"default": {"model": "org/name", **given}}, "aliases": {"trading": "default"}}


def test_nothing_given_is_what_is_shipped() -> None:
    own = VllmSettings()
    assert list(own.models_at("standard")) == ["default", "trading"]
    assert own.aliases_at("standard") == {"default": "default", "trading": "trading"}
    assert own.aliases_at("small") == {"default": "default", "trading": "default"}
    assert list(own.models_at("small")) == ["default"]


def test_what_is_shipped_fits_the_gpus_that_it_is_meant_for() -> None:
    for model in gpu_models().values():
        assert model.memory is not None and model.gpu_memory_gb is not None
        assert model.memory.total < model.gpu_memory_gb * model.gpu_memory_utilization


def test_an_alias_beside_the_shipped_models_has_no_model_of_its_own() -> None:
    own = VllmSettings.model_validate({"aliases": {"default": "trading"}})
    assert list(own.models_at("standard")) == ["trading"]
    assert own.aliases_at("standard") == {"trading": "trading", "default": "trading"}
    assert set(own.aliases_at("small")) == {"default", "trading"}


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (_model(tensor_parallel_size=4, gpus=2), ["tensor_parallel_size is 4 with 2 gpus", "would not start",
                                                  "crossover:own.models.default.gpus 4"]),
        (_model(tensor_parallel_size=1, gpus=2), ["stand idle", "models.default.gpus 1"]),
        (_model(gpu_memory_gb=24, shape=SHAPE, max_model_len=131072),
         ["13.0 GiB of weights + 16.0 GiB for 131072 tokens + 2.0 GiB to work in = 31.0 GiB", "21.6 GiB",
          "would not start", "crossover:own.models.default.max_model_len 53504"]),
        (_model(shm_gb=32), ["shm_gb is 32 of memory_gb 32", "be killed", "models.default.memory_gb 40"]),
        (_model(extra_args=["--api-key=hunter2"]), ["--api-key", "for all to read", "models.default.extra_args"]),
        (_model(extra_args=["--max_model_len=1"]), ["--max-model-len", "sum of its memory"]),
        (_model(extra_args=["--served-model-name", "x"]), ["models.default.extra_args.1 is 'x'"]),
        (_model(replicas={"min": 3, "max": 2}), ["max is 2 with min 3", "models.default.replicas.max 3"]),
        (_model(replicas={"min": 0}), ["models.default.replicas.min is 0"]),
        (_model(replicas={"max": 2}), ["replicas.max is 2 and scaling.kind none", "crossover:own.scaling.kind keda"]),
        (_model(replicas={"min": 2}) | {"cache_access": "ReadWriteOnce"},
         ["ReadWriteOnce", "never get the volume", "crossover:own.cache_access ReadWriteMany"]),
        (_model(quantisation="fp8"), ["models.default.quantisation", "no effect", "'quantization'"]),
        (_model(dtype="bf16"), ["models.default.dtype is 'bf16'", "bfloat16", "models.default.dtype bfloat16"]),
        (_model(shape=SHAPE | {"layers": 0}), ["models.default.shape.layers is 0"]),
        ({"models": {"default": {"model": "org/name"}}}, ["none for trading", "crossover:own.aliases.trading default"]),
        ({"aliases": {"chat": "defualt"}}, ["aliases.chat is 'defualt'", "default, trading", "nobody would answer"]),
        ({"aliases": {"default": "trading", "trading": "default"}}, ["none that is left", "nobody would answer"]),
        (_model() | {"aliases": {"default": "default"}}, ["both have default"]),
        ({"pools": {"kind": "karpenter"}}, ["without node_class", "crossover:own.pools.node_class"]),
        ({"pools": {k: v for k, v in KARPENTER.items() if k != "limits"}},
         ["limits names no count of nvidia.com/gpu", 'crossover:own.pools.limits["nvidia.com/gpu"] COUNT']),
        ({"pools": KARPENTER | {"limits": {"nvidia.com/gpu": 2}}},
         ["limits has 2 nvidia.com/gpu", "one to spare", "need 3", 'pools.limits["nvidia.com/gpu"] 3']),
        ({"pools": {"limits": {"cpu": "8"}}}, ["limits would have no effect", "crossover:own.pools.kind karpenter"]),
        ({"pools": KARPENTER | {"requirements": [{"key": "a", "operator": "In"}]}},
         ["operator In takes at least one", "requirements.0.values"]),
        ({"pools": KARPENTER | {"requirements": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
         ["operator Exists takes none"]),
        ({"scaling": {"kind": "keda"}}, ["without prometheus", "no figures", "crossover:own.scaling.prometheus"]),
        ({"scaling": KEDA}, ["monitor.enabled false", "crossover:own.monitor.enabled true"]),
        ({"engine": "llamacpp"}, ["own.engine is 'llamacpp'", "vllm, llama_cpp", "own.engine llama_cpp"]),
        ({"models": {"De fault": {"model": "m"}}}, ["De fault"]),
    ],
)  # fmt: skip
def test_each_fault_is_told(own: dict[str, Any], said: list[str]) -> None:
    problem, *others = _problems(**own)
    assert others == []
    for part in [*said, "Pulumi.local.yaml", "Fix: "]:
        assert part in problem


def test_secrets_are_never_shown() -> None:
    problems = _problems(hf_token=["hunter2"]) + _problems(**_model(extra_args=["--hf-token=hunter2"]))
    assert len(problems) == 2 and "hunter2" not in "".join(problems)


def test_the_context_that_is_offered_fits() -> None:
    model = _model(gpu_memory_gb=24, shape=SHAPE, max_model_len=53504)
    VllmSettings.model_validate(model)
    with pytest.raises(ValidationError):
        VllmSettings.model_validate(_model(gpu_memory_gb=24, shape=SHAPE, max_model_len=53504 + 512))


def test_the_examples_of_the_document_can_be_used() -> None:
    found = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)]
    whole = [block["crossover:llm_service"]["own"] for block in found if "crossover:llm_service" in block]
    parts = [block for block in found if isinstance(block, dict) and "pools" in block]
    assert (len(whole), len(parts)) == (1, 2)
    for own in [*whole, *parts]:
        VllmSettings.model_validate(own)


@pytest.mark.parametrize("section", [VllmSettings, ModelSettings, PoolSettings, ScalingSettings, MonitorSettings])
def test_the_document_names_every_key(section: type[BaseModel]) -> None:
    assert [key for key in section.model_fields if not re.search(rf"\b{key}\b", DOCUMENT)] == []


def test_the_document_tells_the_needs_of_what_is_shipped() -> None:
    for alias, model in gpu_models().items():
        assert model.memory is not None
        assert f"| `{alias}` | `{model.served_name}` | {model.model}, 8 bits | {model.memory.total:.1f} GiB" in DOCUMENT
