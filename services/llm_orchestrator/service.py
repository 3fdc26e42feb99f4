"""The LLM orchestrator as a whole."""

from __future__ import annotations

from fastapi import FastAPI

from adapters.llm import open_backend
from services.common.runner import Abort
from services.common.web import Health
from services.llm_orchestrator.api import Orchestrator, create_api
from services.llm_orchestrator.settings import OrchestratorSettings


def build(settings: OrchestratorSettings, abort: Abort) -> FastAPI:
    """The orchestrator's app, with a real backend.

    A provider that is away does not make the service unready: callers get an error that says so, in the API's
    own form, which a Service without endpoints could not give them.
    """
    del abort
    key = settings.api_key.get_secret_value() if settings.api_key is not None else None
    backend = open_backend(settings.service_type, settings.base_url, key, timeout=settings.timeout)
    return create_api(Orchestrator(backend, settings.aliases), Health(), backend)
