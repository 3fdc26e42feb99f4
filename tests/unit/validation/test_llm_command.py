"""`python -m validation.llm_service`: what is wrong is said before anybody is asked."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.llm import Endpoint, Endpoints
from contracts.names import ENV_LLM_API_KEY, ENV_LLM_ENDPOINTS
from validation.llm_service.__main__ import app

RUN = CliRunner()


def test_the_prompts_are_counted_and_a_bad_line_is_told(tmp_path: Path) -> None:
    counted = RUN.invoke(app, ["prompts"])
    assert counted.exit_code == 0 and "arithmetic: 40" in counted.output
    (tmp_path / "mine.jsonl").write_text("{")
    refused = RUN.invoke(app, ["prompts", "--prompts", str(tmp_path / "mine.jsonl")])
    assert refused.exit_code == 2 and "line 1" in refused.output


@pytest.mark.parametrize(
    ("endpoints", "told"), [("", "names no endpoints"), ('{"hosted": {}}', "names no endpoints"), (None, "has no vllm")]
)
def test_endpoints_that_name_nobody_are_told(monkeypatch: pytest.MonkeyPatch, endpoints: str | None, told: str) -> None:
    one = Endpoint(base_url="http://127.0.0.1:1/v1", model="m")
    only = Endpoints({"hosted": {"default": one, "trading": one}}).to_json()
    monkeypatch.setenv(ENV_LLM_ENDPOINTS, only if endpoints is None else endpoints)
    refused = RUN.invoke(app, ["judge"])
    assert refused.exit_code == 2 and told in " ".join(refused.output.replace("│", " ").split())


def test_two_sides_that_are_not_there_could_not_be_judged_and_no_key_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        one = Endpoint(base_url=f"http://127.0.0.1:{probe.getsockname()[1]}/v1", model="m")
        both = Endpoints({name: {"default": one, "trading": one} for name in ("hosted", "vllm")})
        monkeypatch.setenv(ENV_LLM_ENDPOINTS, both.to_json())
        monkeypatch.setenv(ENV_LLM_API_KEY, "sk-secret")
        judged = RUN.invoke(app, ["judge", "--per-kind", "1", "--tries", "1", "--json"])  # nobody listens there
    body = json.loads(judged.output)
    assert judged.exit_code == 1 and body["conclusion"] == "worse"  # ours did not answer
    assert "sk-secret" not in judged.output
