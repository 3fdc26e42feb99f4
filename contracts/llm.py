"""Who answers for an alias of the language model service, at each backend. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from contracts.stages import BACKENDS, Component

REQUIRED_ALIASES = ("default", "trading")
"""What callers of this project ask for; each must name a model."""


class InvalidEndpoints(ValueError):
    """A text that names no endpoints; what is wrong, and what to do, is its text."""


class Endpoint(BaseModel):
    """One model behind an OpenAI-compatible API. `base_url` holds the version path (http://host:port/v1) and no
    credentials; `model` is what it is called there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(pattern=r"^https?://[^@?#\s]+$")
    model: str = Field(min_length=1)


class Endpoints(RootModel[Mapping[str, Mapping[str, Endpoint]]]):
    """By backend (contracts/stages.py) and alias. A backend that never was configured is left out."""

    model_config = ConfigDict(frozen=True)

    def of(self, backend: str, alias: str) -> Endpoint:
        """Raises KeyError where `backend` or `alias` is not there."""
        return self.root[backend][alias]

    @property
    def aliases(self) -> tuple[str, ...]:
        """Those that every backend has, in the order of the first."""
        first, *others = self.root.values()
        return tuple(alias for alias in first if all(alias in other for other in others))

    def to_json(self) -> str:
        """As parse() reads it."""
        return self.model_dump_json()

    @classmethod
    def parse(cls, text: str) -> Endpoints:
        """From what to_json wrote. Raises InvalidEndpoints."""
        try:
            found = cls.model_validate(json.loads(text))
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidEndpoints(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except ValueError as error:
            raise InvalidEndpoints(f"it is not JSON: {error}") from None
        unknown = set(found.root) - set(BACKENDS[Component.LLM_SERVICE].values())
        if unknown or not found.root:
            raise InvalidEndpoints(f"it names the backends {', '.join(sorted(found.root)) or 'none'}")
        for backend, aliases in found.root.items():
            missing = [alias for alias in REQUIRED_ALIASES if alias not in aliases]
            if missing:
                raise InvalidEndpoints(f"{backend} has no model for {', '.join(missing)}: calls would fail there")
        return found
