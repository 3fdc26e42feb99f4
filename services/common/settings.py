"""Settings from environment variables: typed, frozen, with errors that name the way out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from contracts.env import Env, env_of
from contracts.names import ENV_HTTP_PORT, ENV_LOG_LEVEL, HTTP_PORT
from services.common.logs import register_secret

__all__ = ["Env", "EnvSettings", "SettingsError"]


class SettingsError(Exception):
    """The environment does not fit: one line for each variable, with consequence and fix."""

    def __init__(self, service: str, problems: list[str]) -> None:
        super().__init__(f"{service} did not start: " + " | ".join(problems))
        self.problems = problems


class EnvSettings(BaseModel):
    """The base of each service's settings: a field is read from the variable that its Env names.

    An empty variable counts as unset. Values of secrets never appear in errors or logs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    http_port: Annotated[int, Env(ENV_HTTP_PORT, "a TCP port from 1 to 65535")] = Field(HTTP_PORT, ge=1, le=65535)
    """TCP port of the API, health and metrics."""
    log_level: Annotated[str, Env(ENV_LOG_LEVEL, "debug, info, warning or error")] = Field(
        "info", pattern="^(debug|info|warning|error)$"
    )
    """The least severe level that is logged."""

    @classmethod
    def from_env(cls, service: str, env: Mapping[str, str] = os.environ) -> Self:
        """The settings of `service` as `env` gives them.

        Raises SettingsError with every problem at once.
        """
        names = {field: env_of(field, info) for field, info in cls.model_fields.items()}
        values = {field: env[spec.name] for field, spec in names.items() if env.get(spec.name)}
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(service, _problems(error, names, values, cls.model_fields)) from None
        for field in cls.model_fields:
            value = getattr(settings, field)
            if isinstance(value, SecretStr):
                register_secret(value.get_secret_value())
        return settings


def _problems(
    error: ValidationError, names: Mapping[str, Env], values: Mapping[str, str], fields: Mapping[str, FieldInfo]
) -> list[str]:
    problems = []
    for item in error.errors(include_url=False, include_input=False):
        field = str(item["loc"][0]) if item["loc"] else ""
        reason = item["msg"].removeprefix("Value error, ")
        spec = names.get(field)
        if spec is None:
            problems.append(reason)
        elif item["type"] == "missing":
            problems.append(f"{spec.name} is not set. Set {spec.name} to {spec.fix}")
        else:
            secret = "SecretStr" in str(fields[field].annotation)
            shown = "(a secret, not shown)" if secret else repr(values[field])
            problems.append(f"{spec.name}={shown} does not fit: {reason}. Set {spec.name} to {spec.fix}")
    return problems
