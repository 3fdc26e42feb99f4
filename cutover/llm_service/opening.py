"""The models of both sides and the orchestrator, from the environment of a Transition."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from adapters.llm import open_backend
from contracts import names
from contracts.llm import Endpoints, InvalidEndpoints
from contracts.llm_moving import InvalidMoving, LlmMoving
from contracts.stages import Component, Side, backend_of
from cutover.environment import FIX, needed
from cutover.errors import CouldNotCheck
from cutover.llm_service.asking import Model
from cutover.llm_service.work import Models

_KEYS = {Side.OLD: names.ENV_LLM_API_KEY, Side.NEW: names.ENV_LLM_OWN_API_KEY}


def models(env: Mapping[str, str]) -> Models:
    """By backend and alias. Raises CouldNotCheck where `env` lacks an endpoint, or a key."""
    text = needed(env, names.ENV_LLM_ENDPOINTS)
    try:
        endpoints = Endpoints.parse(text).root
    except InvalidEndpoints as error:
        raise CouldNotCheck(f"{names.ENV_LLM_ENDPOINTS} cannot be used: {error}", FIX) from error
    found = {}
    for side, variable in _KEYS.items():
        backend, key = backend_of(Component.LLM_SERVICE, side), needed(env, variable)
        if backend not in endpoints:
            raise CouldNotCheck(f"{names.ENV_LLM_ENDPOINTS} names nobody for {backend}", FIX)
        found[backend] = {
            alias: Model(
                backend=backend, alias=alias, name=at.model, base_url=at.base_url,
                open=partial(open_backend, backend, at.base_url, key),
            )
            for alias, at in endpoints[backend].items()
        }  # fmt: skip
    return found


def front(env: Mapping[str, str]) -> Model:
    """The orchestrator, as callers see it. Raises CouldNotCheck."""
    url, name = needed(env, names.ENV_LLM_ORCHESTRATOR_URL), names.LLM_ORCHESTRATOR_NAME
    return Model(
        backend=name, alias="default", name="default", base_url=url, open=partial(open_backend, name, url, None)
    )


def moving(env: Mapping[str, str]) -> LlmMoving:
    """What config says. Raises CouldNotCheck."""
    try:
        return LlmMoving.parse(needed(env, names.ENV_LLM_MOVING))
    except InvalidMoving as error:
        raise CouldNotCheck(f"{names.ENV_LLM_MOVING} cannot be used: {error}", FIX) from error
