"""The LLM orchestrator's settings."""

from __future__ import annotations

import socket
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from contracts import names
from contracts.llm import Endpoints
from contracts.llm_limits import Limits, conflict, variable
from services.common.settings import Env, EnvSettings
from services.llm_orchestrator.choosing import NEW, OLD

_VARIABLES = {**{field: variable(field) for field in Limits.model_fields}, "timeout_seconds": names.ENV_LLM_TIMEOUT}
"""What people set, by the field that it sets."""


class OrchestratorSettings(EnvSettings, Limits):
    """See each field, and those of Limits. It is the same at every stage: which side answers is the route's word."""

    endpoints: Annotated[
        str, Env(names.ENV_LLM_ENDPOINTS, 'JSON: {"hosted": {"default": {"base_url", "model"}, "trading": ...}}')
    ]
    """Who answers an alias at each side; see contracts/llm.py. Credentials do not belong here: see the keys."""
    api_key: Annotated[SecretStr | None, Env(names.ENV_LLM_API_KEY, "the hosted API's key")] = None
    """None: requests to the hosted side go without an Authorization header."""
    own_api_key: Annotated[SecretStr | None, Env(names.ENV_LLM_OWN_API_KEY, "the token of our own models")] = None
    """None: requests to our own models go without an Authorization header."""
    service_type: Annotated[str, Env(names.ENV_LLM_SERVICE_TYPE, "groq, openai or vllm")] = Field(
        "openai", pattern="^(groq|openai|vllm)$"
    )
    """Who the hosted side is: a label in errors and in the list of models. Where no route is followed it also says
    which side answers: `vllm` our own models, everything else the hosted side."""
    routes: Annotated[str, Env(names.ENV_ROUTES, "kubernetes, or unset it")] = Field("", pattern="^(kubernetes)?$")
    """`kubernetes`: follow the route. Unset: see `service_type`."""
    namespace: Annotated[str, Env(names.ENV_NAMESPACE, "the namespace of the route")] = names.NAMESPACE
    pod_name: Annotated[str | None, Env(names.ENV_POD_NAME, "this pod's name")] = None
    """The name under which the orchestrator makes itself known; the host's where unset."""

    timeout: Annotated[float, Env(names.ENV_LLM_TIMEOUT, "seconds, above 0")] = Field(60, gt=0, le=3600)
    """The longest silence: between two parts of a stream, and until an answer comes whole, in seconds."""

    @field_validator("endpoints")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        Endpoints.parse(value)
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        found = conflict(self, self.timeout, _VARIABLES)
        if found is not None:
            raise ValueError(f"{found.reason}. Set {_VARIABLES[found.field]} to {found.value:g}")
        return self

    @property
    def parsed_endpoints(self) -> Endpoints:
        """By side and alias."""
        return Endpoints.parse(self.endpoints)

    @property
    def fixed_side(self) -> str:
        """The side that answers where no route is followed."""
        return NEW if self.service_type == NEW else OLD

    def label(self, side: str) -> str:
        """What `side` is called in errors."""
        return side if NEW in (side, self.service_type) else self.service_type

    def key(self, side: str) -> str | None:
        """The key that goes to `side`, and to no other."""
        key = self.own_api_key if side == NEW else self.api_key
        return key.get_secret_value() if key is not None else None

    @property
    def adapter_name(self) -> str:
        """This replica among the adapters."""
        return names.adapter_name(self.pod_name or socket.gethostname(), names.LLM_ORCHESTRATOR_NAME)
