"""The watch of a switch over the real orchestrator, at its real pace: who loses calls loses the traffic within 10 s."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, override

import openai
import pytest

from adapters.llm import open_backend
from adapters.routes import Versioned
from contracts.routes import Route
from contracts.stages import Stage
from cutover.context import Context
from cutover.llm_service import LlmSteps, Model, Pace
from cutover.plan import Step, Transition
from cutover.timing import Timing
from services.common import following
from tests.contract.faulty_llm import Faulty
from tests.contract.orchestrated import LLM, Orchestrated, environment, orchestrated
from tests.unit.cutover.llm_world import LlmWorld

pytestmark = pytest.mark.contract

SECONDS = 10.0
"""Within which traffic has to be back."""
LIMITS = {"LLM_CONNECT_TIMEOUT_SECONDS": "0.4", "LLM_TIMEOUT_SECONDS": "14"}
"""An answer in one piece is waited for."""


class RealWorld(LlmWorld):
    """The orchestrator and its models are real; what is judged before a switch is not asked."""

    def __init__(self, made: Orchestrated, urls: dict[str, str]) -> None:
        super().__init__()
        self.store, self.registry, self.pace = made.store, made.registry, Pace()  # type: ignore[assignment]
        self.models = {side: {"default": _model(side, url)} for side, url in urls.items()}
        self._url = made.url

    @override
    def steps(self, context: Context) -> LlmSteps:
        front = replace(_model("llm-orchestrator", self._url), name="default")
        made = LlmSteps(context, self.models, front, self, self.moving, self.pace)
        made.steps |= {Step.PREFLIGHT: _nothing, Step.COMPARE: _nothing}
        return made


def _model(side: str, url: str) -> Model:
    return Model(backend=side, alias="default", name="m", base_url=url, open=partial(open_backend, side, url, None))


def _nothing(transition: Transition) -> str:
    return "not asked here"


@contextmanager
def callers(url: str) -> Iterator[None]:
    """Some that ask for one stream after the other: more than the calls that it takes to judge."""
    over = threading.Event()

    def ask() -> None:
        with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as client:
            while not over.wait(0.05):
                body: Any = {"model": "default", "messages": [{"role": "user", "content": "hi"}], "stream": True}
                with client.chat.completions.create(**body) as chunks:
                    list(chunks)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def await_told(made: Orchestrated, calls: int) -> None:
    """Until the cutover knows how the hosted side fared before the switch."""
    deadline = time.monotonic() + SECONDS
    while sum(int(one.status.get("hosted.answered", 0)) for one in made.registry.records(LLM)) < calls:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # polling with a deadline


@pytest.mark.parametrize(
    ("first_token", "crossed"),
    [
        ("0.5", ("calls failed", "budget.error_rate")),
        ("13", ("calls wait: the first token takes", "budget.ttft_ratio")),
    ],
    ids=["calls-time-out", "calls-hang"],
)
def test_a_side_that_falls_silent_loses_its_calls_within_ten_seconds(
    first_token: str, crossed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch's own question hangs there, too, for as long as an answer in one piece may take. No call has to time
    out for it to be seen."""
    limits = LIMITS | {"LLM_FIRST_TOKEN_TIMEOUT_SECONDS": first_token}
    told = following.TELL_SECONDS
    with Faulty("hosted") as hosted, Faulty("vllm") as own:
        urls = {"hosted": hosted.url, "vllm": own.url}
        with orchestrated(environment(urls, "m", limits), Stage.SHADOW) as made, callers(made.url):
            await_told(made, 10)
            monkeypatch.setattr(following, "TELL_SECONDS", told)
            world, written = RealWorld(made, urls), list[tuple[str, float]]()
            write = made.store.write

            def noted(route: Route, version: str) -> Versioned:
                written.append((route.active, time.monotonic()))
                return write(route, version)

            def falls_silent(transition: Transition) -> str:
                own.fault = "silent"
                return "silent"

            monkeypatch.setattr(made.store, "write", noted)
            outcome = world.migrate(Stage.SCALE, Timing(watch=2), instead={Step.ACKNOWLEDGE: falls_silent})
    assert (outcome.verdict, outcome.stage) == ("does not hold", Stage.SHADOW), outcome.message
    assert all(word in outcome.message for word in crossed), outcome.message
    opened = next(at for active, at in written if active == "vllm")
    back = next(at for active, at in written if active == "hosted" and at > opened)
    assert back - opened < SECONDS
    route = world.route()
    assert (route.active, route.progress, route.history[-1].outcome) == ("hosted", None, "switched back")
