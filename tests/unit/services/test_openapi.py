"""The documents in docs/api are what the services serve, and the health routes are on each."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient

from services import openapi


def test_the_documents_are_current() -> None:
    assert openapi.stale() == [], "run: python -m services.openapi"


@pytest.mark.parametrize("service", sorted(openapi.APPS))
def test_each_service_answers_health_metrics_and_version(service: str) -> None:
    client = TestClient(openapi.APPS[service]())
    assert client.get("/healthz").json() == {"status": "alive", "reasons": {}}
    assert client.get("/readyz").json()["status"] == "ready"
    assert "crossover_http_requests_total" in client.get("/metrics").text
    assert client.get("/version").json()["service"] == service
    document = json.loads((openapi.FOLDER / f"{service}.json").read_text())
    assert {"/healthz", "/readyz", "/metrics", "/version"} <= set(document["paths"])


def test_a_document_that_is_not_current_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(openapi, "FOLDER", tmp_path)
    assert len(openapi.stale()) == len(openapi.APPS)
    assert openapi.main(["--check"]) == 1
    assert openapi.main([]) == 0
    assert openapi.main(["--check"]) == 0
