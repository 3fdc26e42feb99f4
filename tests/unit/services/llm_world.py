"""The orchestrator over two fakes, one a side, and a route that a test writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, override
from unittest.mock import patch

from fastapi import FastAPI
from fastapi.testclient import TestClient

from adapters.llm.memory import MemoryChat
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from contracts import names
from contracts.llm import Endpoint, Endpoints
from contracts.registry import AdapterRecord
from contracts.routes import Route
from contracts.stages import Component, Stage, serving_backend
from services.common import following
from services.llm_orchestrator.service import assemble
from services.llm_orchestrator.settings import OrchestratorSettings

LLM = Component.LLM_SERVICE
MESSAGES = [{"role": "user", "content": "hello"}]
_PATIENCE = 10.0


def endpoints(*sides: str) -> Endpoints:
    """Both aliases at each of `sides`, with models of one name a side and alias."""
    return Endpoints(
        {
            side: {
                alias: Endpoint(base_url=f"http://{side}/v1", model=f"{side}-{alias}")
                for alias in ("default", "trading")
            }
            for side in sides or ("hosted", "vllm")
        }
    )


def settings(env: dict[str, str] | None = None, *sides: str) -> OrchestratorSettings:
    """Settings with `env` beside the endpoints."""
    return OrchestratorSettings.from_env(
        names.LLM_ORCHESTRATOR_NAME,
        {names.ENV_LLM_ENDPOINTS: endpoints(*sides).to_json(), "POD_NAME": "pod-1", **(env or {})},
    )


def limits(*, first: float, whole: float) -> dict[str, str]:
    """The environment in which a first token may take `first` seconds and a call `whole`, and all else less."""
    return {
        names.ENV_LLM_CONNECT_TIMEOUT: f"{first / 2}",
        names.ENV_LLM_FIRST_TOKEN_TIMEOUT: f"{first}",
        names.ENV_LLM_TIMEOUT: f"{first}",
        names.ENV_LLM_WHOLE_TIMEOUT: f"{whole}",
    }


def route(stage: Stage, epoch: int = 1, **more: Any) -> Route:
    """The route at `stage`."""
    return Route(
        component=LLM, stage=stage, active=more.pop("active", serving_backend(LLM, stage)), epoch=epoch, **more
    )


class CountingRegistry(MemoryRegistry):
    """`announced`: how often something was."""

    announced = 0

    @override
    def announce(self, *args: Any, **more: Any) -> None:
        super().announce(*args, **more)
        self.announced += 1


class World:
    """`hosted` and `vllm` are the fakes."""

    def __init__(self, first: Route | None = None, env: dict[str, str] | None = None, *sides: str) -> None:
        self.sides = {
            side: MemoryChat(reply=f"{side} says so", models=(f"{side}-default", f"{side}-trading"))
            for side in ("hosted", "vllm")
        }
        for name, side in self.sides.items():
            side.name = name
        self.hosted, self.vllm = self.sides["hosted"], self.sides["vllm"]
        self.store = MemoryRouteStore(*([first] if first else []))
        self.registry = CountingRegistry()
        self.app: FastAPI = assemble(
            settings(env, *sides), self.store, self.registry, lambda side, url: self.sides[side]
        )
        self.client: TestClient

    def set(self, new: Route) -> None:
        """Write the route, and wait until the orchestrator follows it."""
        self.store.write(new, self.store.read(LLM).version)
        self.await_record(lambda record: record.acknowledged_epoch == new.epoch)

    def record(self) -> AdapterRecord | None:
        """What the orchestrator says of itself."""
        return next(iter(self.registry.records(LLM)), None)

    def await_record(self, holds: Any) -> AdapterRecord:
        """The record, once `holds`."""
        deadline = time.monotonic() + _PATIENCE
        pause = threading.Event()
        while time.monotonic() < deadline:
            # First the question, then the record: what it asks for may have been announced in between.
            record = self.record()
            if record is not None and holds(record):
                return self.record() or record
            pause.wait(0.01)  # polling with a deadline
        raise AssertionError(f"the record stays {self.record()}")

    def ask(self, headers: dict[str, str] | None = None, **body: object) -> Any:
        """A chat completion."""
        content = {"model": "default", "messages": MESSAGES, **body}
        return self.client.post("/v1/chat/completions", json=content, headers=headers)

    def figures(self) -> dict[str, str]:
        """The figures, with all calls that ended before this one was made."""
        # The next record may have been counted before; the one after it was not.
        wanted = self.registry.announced + 2
        return dict(self.await_record(lambda _: self.registry.announced >= wanted).status)


@contextmanager
def world(first: Route | None = None, env: dict[str, str] | None = None, *sides: str) -> Iterator[World]:
    """A world that runs, and follows its route."""
    made = World(first, env, *sides)
    with patch.object(following, "TELL_SECONDS", 0.05), TestClient(made.app) as client:
        made.client = client
        made.await_record(lambda record: record.acknowledged_epoch == (first.epoch if first else 0))
        yield made
