"""The orchestrator as a whole, served over HTTP in front of real servers, with a route that a test writes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch

import uvicorn
from fastapi import FastAPI

from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from contracts import names
from contracts.llm import REQUIRED_ALIASES, Endpoint, Endpoints
from contracts.registry import AdapterRecord
from contracts.routes import Route
from contracts.stages import Component, Stage, serving_backend
from services.common import following
from services.llm_orchestrator.service import assemble, connector
from services.llm_orchestrator.settings import OrchestratorSettings
from tests.contract.postgres_server import free_port

LLM = Component.LLM_SERVICE
_PATIENCE = 20.0


def environment(urls: Mapping[str, str], model: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of an orchestrator with `model` at each side's URL."""
    endpoints = Endpoints(
        {side: dict.fromkeys(REQUIRED_ALIASES, Endpoint(base_url=url, model=model)) for side, url in urls.items()}
    )
    return {names.ENV_LLM_ENDPOINTS: endpoints.to_json(), names.ENV_POD_NAME: "pod-1", **(more or {})}


def route_at(stage: Stage, epoch: int, **more: object) -> Route:
    """The route at `stage`."""
    fields = {"active": serving_backend(LLM, stage), **more}
    return Route.model_validate({"component": LLM, "stage": stage, "epoch": epoch, **fields})


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """`app` over HTTP; its base URL."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", port)):
            assert thread.is_alive()
            time.sleep(0.01)  # a server that starts announces nothing
    yield f"http://127.0.0.1:{port}/v1"
    server.should_exit = True
    thread.join(20)


class Orchestrated:
    """`url` is where callers ask."""

    def __init__(self, env: Mapping[str, str], first: Route) -> None:
        settings = OrchestratorSettings.from_env(names.LLM_ORCHESTRATOR_NAME, env)
        self.store, self.registry = MemoryRouteStore(first), MemoryRegistry()
        self.app = assemble(settings, self.store, self.registry, connector(settings))
        self.url = ""

    def set(self, stage: Stage, **more: object) -> None:
        """Switch, and wait until the orchestrator follows."""
        now = self.store.read(LLM)
        epoch = now.route.epoch + 1 if now.route else 1
        self.store.write(route_at(stage, epoch, **more), now.version)
        self.record(epoch)

    def record(self, epoch: int, **told: str) -> AdapterRecord:
        """What the orchestrator says of itself, once it follows `epoch` and its status has `told` (a dot as __)."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            for record in self.registry.records(LLM):
                status = {key.replace(".", "__"): value for key, value in record.status.items()}
                if record.acknowledged_epoch == epoch and told.items() <= status.items():
                    return record
            time.sleep(0.01)  # polling with a deadline
        raise AssertionError(f"epoch {epoch} is not followed, or {told} not told: {self.registry.records(LLM)}")


@contextmanager
def orchestrated(env: Mapping[str, str], stage: Stage = Stage.MVP, **more: object) -> Iterator[Orchestrated]:
    """An orchestrator that runs, and follows a route at `stage`."""
    with patch.object(following, "TELL_SECONDS", 0.05):
        made = Orchestrated(env, route_at(stage, 1, **more))
        with served(made.app) as url:
            made.url = url
            made.record(1)
            yield made
