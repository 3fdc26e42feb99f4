"""The language models' switch over a real model on both sides: what it asks, and how it takes the answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from adapters.known import Unknown
from adapters.llm import open_backend
from contracts.stages import Stage
from cutover.llm_service import asking
from cutover.llm_service.asking import Model, Refused
from cutover.plan import Step, path
from tests.contract import llama_server
from tests.contract.postgres_server import free_port
from tests.unit.cutover.llm_world import COMPONENT, LlmWorld

pytestmark = pytest.mark.contract
SECONDS = 240.0
"""A generation takes a second, and on a machine with other work on it a hundred of them."""


@pytest.fixture(scope="module", params=["llama", "vllm"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "vllm":
        yield request.getfixturevalue("vllm")
        return
    parts = request.getfixturevalue("parts")
    with llama_server.llama(parts, tmp_path_factory.mktemp("llama")) as url:
        yield url


def model(url: str, key: str = llama_server.API_KEY, *, backend: str = "vllm", alias: str = "default") -> Model:
    return Model(
        backend=backend, alias=alias, name=llama_server.MODEL, base_url=url,
        open=partial(open_backend, backend, url, key),
    )  # fmt: skip


def test_a_real_model_is_listed_answers_and_takes_its_time(real: str) -> None:
    one = model(real)
    assert llama_server.MODEL in _known(asking.listed([one], SECONDS)[one])
    assert asking.generations([one], SECONDS)[one] == ""
    median = asking.first_tokens([one], 1, SECONDS)[one]
    assert isinstance(median, float) and 0 < median < SECONDS * 1000


def _known(found: object) -> list[str]:
    assert isinstance(found, list)
    return found


def test_a_wrong_key_is_told_from_a_dead_server_and_from_a_slow_one(real: str) -> None:
    refused, slow = model(real, "another-key"), model(real)
    away = model(f"http://127.0.0.1:{free_port()}/v1")
    assert isinstance(asking.generations([refused], SECONDS)[refused], Refused)
    found = asking.listed([away], SECONDS)[away]
    assert isinstance(found, Unknown) and not isinstance(found, Refused)
    late = asking.generations([slow], 0.001)[slow]
    assert isinstance(late, Unknown) and "no answer within" in late.why


def test_both_sides_join_by_what_real_models_say(real: str) -> None:
    world = LlmWorld()
    world.reach(Stage.MVP)
    world.pace = replace(world.pace, answer=SECONDS, load=SECONDS)
    (row,) = path(Stage.MVP, Stage.SHADOW, COMPONENT)
    models = {
        backend: {alias: model(real, backend=backend, alias=alias) for alias in ("default", "trading")}
        for backend in ("hosted", "vllm")
    }
    world.models = {**models, "vllm": {alias: replace(one, name="no-such") for alias, one in models["vllm"].items()}}
    outcome = world.migrate(Stage.SHADOW)
    assert "vllm: model of default does not hold" in outcome.message and llama_server.MODEL in outcome.message
    world.models = models
    context = world.context()
    context.read()
    steps = world.steps(context).steps
    assert "items hold" in steps[Step.PREFLIGHT](row)
    assert "1 models answer" in steps[Step.WARM_UP](row)
