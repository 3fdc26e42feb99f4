"""The LLM orchestrator's settings."""

from __future__ import annotations

import re
import socket
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from contracts import names
from contracts.llm import Endpoints
from services.common.settings import Env, EnvSettings
from services.llm_orchestrator.choosing import NEW, OLD


class OrchestratorSettings(EnvSettings):
    """See each field. All of it is the same at every stage: which side answers is the route's word."""

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

    connect_timeout: Annotated[float, Env(names.ENV_LLM_CONNECT_TIMEOUT, "seconds, above 0")] = Field(5, gt=0, le=60)
    """For a connection to a side, its name's look-up included, in seconds."""
    first_token: Annotated[float, Env(names.ENV_LLM_FIRST_TOKEN_TIMEOUT, "seconds, above 0")] = Field(30, gt=0, le=600)
    """From asking for a stream to its first event, in seconds. Then the other side is asked."""
    timeout: Annotated[float, Env(names.ENV_LLM_TIMEOUT, "seconds, above 0")] = Field(60, gt=0, le=3600)
    """The longest silence: between two parts of a stream, and until an answer comes whole, in seconds."""
    whole: Annotated[float, Env(names.ENV_LLM_WHOLE_TIMEOUT, "seconds, above 0")] = Field(600, gt=0, le=7200)
    """The longest that a call may take in all, in seconds."""
    max_in_flight: Annotated[int, Env(names.ENV_LLM_MAX_IN_FLIGHT, "1 to 10000")] = Field(1000, ge=1, le=10_000)
    """Calls in hand at a time. Each holds two connections, and some 50 KiB."""
    queue_length: Annotated[int, Env(names.ENV_LLM_QUEUE_LENGTH, "0 to 10000")] = Field(200, ge=0, le=10_000)
    """Calls that may wait for a place. Who comes beyond that gets a 503 with Retry-After."""
    queue_seconds: Annotated[float, Env(names.ENV_LLM_QUEUE_SECONDS, "seconds, above 0")] = Field(5, gt=0, le=60)
    """How long a call waits for a place."""
    sample_tokens: Annotated[float, Env(names.ENV_LLM_SAMPLE_TOKENS, "0 or more")] = Field(20_000, ge=0)
    """Tokens a minute that samples may cost, prompt and answer. What would go beyond is not sampled."""
    sample_concurrency: Annotated[int, Env(names.ENV_LLM_SAMPLE_CONCURRENCY, "1 to 100")] = Field(2, ge=1, le=100)
    """Samples under way at a time."""

    @field_validator("endpoints")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        Endpoints.parse(value)
        return value

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
        name = f"{self.pod_name or socket.gethostname()}.{names.LLM_ORCHESTRATOR_NAME}"
        return re.sub(r"[^a-z0-9.-]", "-", name.lower())
