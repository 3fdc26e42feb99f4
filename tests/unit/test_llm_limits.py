"""The limits of the orchestrator: what config says is what its process reads, and what does not go together is told."""

from __future__ import annotations

import pytest

from contracts import names
from contracts.llm_limits import Limits, conflict, variable
from services.common.settings import SettingsError
from services.llm_orchestrator.service import rules
from services.llm_orchestrator.settings import OrchestratorSettings
from tests.unit.services.llm_world import endpoints

OTHERS = {
    "connect_seconds": 2.25, "connecting": 7, "first_token_seconds": 11.5, "whole_seconds": 700.0, "max_in_flight": 33,
    "queue_length": 0, "queue_seconds": 1.5, "bodies_mib": 9, "sample_tokens_a_minute": 1234567.0,
    "sample_concurrency": 3, "retries_at_once": 0.0, "retries_a_call": 0.125, "retries_a_second": 3.5,
    "breaker_failures": 9, "breaker_rate": 0.75, "breaker_window_seconds": 4.5, "breaker_rest_seconds": 2.5,
    "breaker_longest_seconds": 20.5,
}  # fmt: skip
"""Each field with another value than the default."""


def read(env: dict[str, str]) -> OrchestratorSettings:
    given = {names.ENV_LLM_ENDPOINTS: endpoints().to_json(), **env}
    return OrchestratorSettings.from_env(names.LLM_ORCHESTRATOR_NAME, given)


def test_what_config_says_is_what_the_orchestrator_reads() -> None:
    asked = Limits.model_validate(OTHERS)
    told = read(asked.env())
    assert {field: getattr(told, field) for field in Limits.model_fields} == OTHERS
    usual = Limits()
    assert all(getattr(usual, field) != value for field, value in OTHERS.items())
    assert {field: getattr(read(usual.env()), field) for field in OTHERS} == usual.model_dump()
    assert (rules(told).least, rules(told).rate, rules(told).window) == (9, 0.75, 4.5)
    assert (rules(told).rest, rules(told).longest) == (2.5, 20.5)


def test_no_two_fields_share_a_variable() -> None:
    assert len({variable(field) for field in Limits.model_fields}) == len(Limits.model_fields)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (
            {names.ENV_LLM_CONNECT_TIMEOUT: "40"},
            "LLM_FIRST_TOKEN_TIMEOUT_SECONDS is 30 and LLM_CONNECT_TIMEOUT_SECONDS is 40: .* to 80",
        ),
        ({names.ENV_LLM_TIMEOUT: "700"}, "LLM_WHOLE_TIMEOUT_SECONDS is 600 and LLM_TIMEOUT_SECONDS is 700: .* to 1400"),
        ({names.ENV_LLM_BODIES: "1"}, "LLM_BODIES_MIB='1' does not fit: .* Set LLM_BODIES_MIB to MiB, 4 to 4096"),
        ({names.ENV_LLM_BREAKER_RATE: "0"}, "LLM_BREAKER_RATE='0' does not fit"),
    ],
)
def test_limits_that_do_not_fit_keep_the_orchestrator_from_starting(env: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read(env)


def test_a_value_that_is_proposed_is_one_that_fits() -> None:
    for given in (
        {"connect_seconds": 60.0},
        {"first_token_seconds": 600.0},
        {"breaker_rest_seconds": 600.0},
        {"whole_seconds": 60.0},
    ):
        limits = Limits.model_validate(given)
        for _ in range(3):
            found = conflict(limits, 600.0)
            if found is None:
                break
            limits = Limits.model_validate({**limits.model_dump(), found.field: found.value})
        assert conflict(limits, 600.0) is None


def test_the_usual_limits_fit_into_the_smallest_pod_and_what_is_proposed_does_too() -> None:
    usual = Limits()
    assert usual.memory_mib < 384
    fitting = Limits(max_in_flight=Limits(max_in_flight=9000).in_flight_within(384))
    assert 383 < fitting.memory_mib <= 384
    assert Limits(bodies_mib=300).in_flight_within(384) == 0
