"""An engineer: the APIs are those that my programs were written for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts import names
from tests.integration.user_acceptance.conftest import Services

API = Path(__file__).parents[3] / "docs" / "api"
SERVICES = (
    names.TRADING_ENGINE_NAME, names.LLM_ORCHESTRATOR_NAME, names.BACKTESTING_NAME, names.MARKET_FEED_NAME,
)  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_ready(service: Services, name: str) -> None:
    """A service is ready, with all that it depends on."""
    answer = service(name).ask("GET", "/readyz")
    assert (answer.status, answer.content["status"]) == (200, "ready"), answer


@pytest.mark.parametrize("name", SERVICES)
def test_an_api_is_the_one_that_is_documented(service: Services, name: str) -> None:
    """Its API is the documented one: each path, each field, nothing less and nothing else."""
    documented: dict[str, Any] = json.loads((API / f"{name}.json").read_text())
    served = service(name).ask("GET", "/openapi.json").content
    assert served["info"]["version"] == documented["info"]["version"]
    assert sorted(served["paths"]) == sorted(documented["paths"])
    different = [path for path, told in documented["paths"].items() if served["paths"][path] != told]
    assert different == []
    assert served.get("components") == documented.get("components")


@pytest.mark.parametrize("name", SERVICES)
def test_what_there_is_not_is_refused_not_broken(service: Services, name: str) -> None:
    """What there is not is answered with 404, not with an error of the server."""
    assert service(name).ask("GET", "/no/such/path").status == 404
