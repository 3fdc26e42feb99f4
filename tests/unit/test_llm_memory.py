"""The sum of a model's memory, against figures that others published."""

from __future__ import annotations

import pytest

from contracts.llm_memory import GpuNeed, GpuNeeds, Shape, need

OPT_13B = Shape(parameters=13.0, layers=40, kv_heads=40, head_dim=128)
DEVSTRAL = Shape(parameters=23.57, unquantized=1.34, layers=40, kv_heads=8, head_dim=128)
GIB = 2**30


def test_a_token_of_opt_13b_takes_what_the_paper_says() -> None:
    """800 KB: Kwon et al., SOSP 2023, section 3. And 26 GB of weights, figure 1."""
    assert OPT_13B.token_bytes(16) == 800 * 1024
    assert OPT_13B.weight_bytes(16) == pytest.approx(26e9)


def test_quantised_weights_are_as_large_as_their_files() -> None:
    """The language half of Devstral-Small-2-24B in FP8 has 24.9 GB on disk; its embeddings stay at 16 bits."""
    assert DEVSTRAL.weight_bytes(8) == pytest.approx(24.9e9, rel=0.005)


def test_the_parts_add_up() -> None:
    made = need(DEVSTRAL, weight_bits=8, cache_bits=16, tokens=32768)
    assert made.weights * GIB == pytest.approx(DEVSTRAL.weight_bytes(8))
    assert made.cache == pytest.approx(5.0)
    assert made.total == pytest.approx(made.weights + 5.0 + 2.0)
    assert made.text == "23.2 GiB of weights + 5.0 GiB for 32768 tokens + 2.0 GiB to work in = 30.2 GiB"


def test_gpus_share_weights_and_heads_and_each_works() -> None:
    one, four = (need(DEVSTRAL, weight_bits=8, cache_bits=16, tokens=4096, gpus=n) for n in (1, 4))
    assert four.weights == pytest.approx(one.weights / 4) and four.cache == pytest.approx(one.cache / 4)
    assert four.workspace == one.workspace
    # 8 heads on 16 GPUs: each keeps a whole one.
    assert need(DEVSTRAL, weight_bits=8, cache_bits=16, tokens=4096, gpus=16).cache == pytest.approx(one.cache / 8)


def test_smaller_numbers_halve_the_cache_but_not_what_stays_whole() -> None:
    half = need(DEVSTRAL, weight_bits=8, cache_bits=8, tokens=4096)
    assert half.cache == pytest.approx(need(DEVSTRAL, weight_bits=8, cache_bits=16, tokens=4096).cache / 2)
    assert DEVSTRAL.weight_bytes(4) == pytest.approx((23.57 - 1.34) * 0.5e9 + 1.34 * 2e9)
    assert DEVSTRAL.weight_bytes(32) == pytest.approx(23.57 * 4e9)


def test_needs_travel_as_json_and_say_what_fits() -> None:
    memory = need(DEVSTRAL, weight_bits=8, cache_bits=16, tokens=32768)
    known = GpuNeed(app="a", model="m", pods=2, gpus=1, utilization=0.9, memory=memory)
    needs = GpuNeeds((known, known.model_copy(update={"app": "b", "gpus": 4, "memory": None})))
    assert GpuNeeds.model_validate_json(needs.model_dump_json()) == needs
    assert needs.gpus == 2 * 1 + 2 * 4
    assert [known.fits(44), known.fits(24), needs.root[1].fits(80)] == [True, False, None]
