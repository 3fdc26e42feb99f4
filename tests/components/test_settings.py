"""Every way in which stack config can be wrong is told with file, key, value, consequence and fix, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings import Settings, SettingsError, parse
from contracts.stages import Stage

ROOT = Path(__file__).resolve().parents[2]


HOSTED = {"base_url": "https://api.groq.com/openai/v1", "api_key": "gsk", "models": {"default": "llama"}}


def _problems(**raw: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse("local", {"kube_context": "c", **raw})
    return caught.value.problems


def test_no_config_but_the_context_is_the_mvp() -> None:
    settings = parse("local", {"kube_context": "c", "storage_class": ""})
    assert settings.event_bus.stage is Stage.MVP
    assert settings.protect_data
    assert settings.images.of("redis") == "localhost/crossover/redis:local"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            {"event_bus": {"stage": "scal"}},
            ["Pulumi.local.yaml", "crossover:event_bus.stage", "'scal'", "mvp, shadow, scale, complete", "stage scale"],
        ),
        (
            {"event_bus": {"partitons": 4}},
            ["crossover:event_bus.partitons", "no effect", "'partitions'", "pulumi config rm"],
        ),
        (
            {"event_bus": {"stage": "scale", "emergency": True}},
            ["emergency is true at stage scale", "crossover:event_bus.emergency false"],
        ),
        (
            {"migration": {"preflight": "yes"}},
            ["crossover:migration.preflight", "'yes'", "off", "required"],
        ),
        (
            {"migration": {"questions": {"Change Ticket": "Is it approved?"}}},
            ["crossover:migration.questions", "'Change Ticket' is no name of an item", "change-ticket"],
        ),
        (
            {"migration": {"confirm_days": 0}},
            ["crossover:migration.confirm_days", "greater than 0"],
        ),
        (
            {"database": {"stage": "complete", "emergency": True}},
            ["emergency is true at stage complete", "the hosted one", "crossover:database.emergency false"],
        ),
        (
            {"database": {"mask": ["bank.account.owner", "account.mail"]}},
            ["mask has 'account.mail'", "would hide nothing", "crossover:database.mask[1] SCHEMA.TABLE.mail"],
        ),
        ({"database": {"verdict_hours": 0}}, ["crossover:database.verdict_hours is 0", "greater than 0"]),
        ({"event_bus": {"verdict_hours": "day"}}, ["crossover:event_bus.verdict_hours is 'day'"]),
        ({"database": {"rollback_loss": "some"}}, ["rollback_loss is 'some'", "bounded, none"]),
        ({"traces": {"endpoint": "collector:4318"}}, ["crossover:traces.endpoint is 'collector:4318'"]),
        ({"event_buss": {}}, ["crossover:event_buss", "'event_bus'"]),
        ({"event_bus": {"partitions": "many"}}, ["crossover:event_bus.partitions is 'many'", "integer"]),
        ({"event_bus": {"partitions": 0}}, ["crossover:event_bus.partitions is 0", "greater than or equal to 1"]),
        ({"event_bus": {"redis": {"appendfsync": "never"}}}, ["appendfsync is 'never'", "always, everysec"]),
        (
            {"event_bus": {"topics": ["market_data", "orders"]}},
            ["topics lacks trading_signals", "could not publish", "event_bus.topics[2] trading_signals"],
        ),
        ({"event_bus": {"topics": ["market_data", "trading_signals", "market_data"]}}, ["names market_data twice"]),
        (
            {"event_bus": {"topics": ["market_data", "trading_signals", "a.dead_letter"]}},
            ["a.dead_letter", "a dead-letter topic already"],
        ),
        ({"event_bus": {"topics": ["market_data", "trading_signals", "a b"]}}, ["topics.2", "'a b'"]),
        ({"event_bus": "mvp"}, ["crossover:event_bus is 'mvp'", "pulumi config set --path crossover:event_bus"]),
        ({"backtesting": {"emergency": True}}, ["crossover:backtesting.stage", "backtests have none"]),
        (
            {"event_bus": {"kafka": {"replication": 3}}},
            ["replication is 3 with 1 brokers", "no topic could be made", "crossover:event_bus.kafka.brokers 3"],
        ),
        (
            {"event_bus": {"kafka": {"min_insync_replicas": 2}}},
            ["every publish would be refused", "crossover:event_bus.kafka.min_insync_replicas 1"],
        ),
        (
            {"llm_service": {"base_url": "https://api.groq.com/openai/v1"}},
            ["api_key", "refused", "crossover:llm_service.api_key KEY --secret"],
        ),
        (
            {"llm_service": {"api_key": "gsk"}},
            ["api_key is set without base_url", "crossover:llm_service.base_url https://api.openai.com/v1"],
        ),
        (
            {"llm_service": {"base_url": "https://user:pw@api.example/v1"}},
            ["crossover:llm_service.base_url", "holds credentials", "not shown", "the key in api_key"],
        ),
        (
            {"llm_service": {"base_url": "https://api.example/v1?api-key=s3cret"}},
            ["crossover:llm_service.base_url", "a query", "the stack's state"],
        ),
        (
            {"llm_service": {"base_url": "api.groq.com/openai/v1"}},
            ["'api.groq.com/openai/v1' is no http or https address", "nobody could be asked"],
        ),
        ({"llm_service": {"base_url": "https://"}}, ["'https://' is no http or https address"]),
        (
            {"llm_service": {"base_url": "https://api.groq.com/openai/v1/chat/completions"}},
            ["stand there twice", "crossover:llm_service.base_url https://api.groq.com/openai/v1"],
        ),
        (
            {"llm_service": {"models": {"default": "gpt"}}},
            ["models names default without base_url", "the stand-in has one model"],
        ),
        (
            {"llm_service": {**HOSTED, "models": {"default": "llama", "tradin": "llama"}}},
            ["the alias 'tradin'", "default, trading", "crossover:llm_service.own.aliases.tradin default"],
        ),
        (
            {"llm_service": {**HOSTED, "models": {"default": "llama", "trading": ""}}},
            ["models.trading is empty", "crossover:llm_service.models.trading MODEL"],
        ),
        ({"llm_service": {"canary_percent": 0}}, ["canary_percent is 0", "greater than or equal to 1"]),
        ({"llm_service": {"canary_percent": 101}}, ["canary_percent is 101", "less than or equal to 100"]),
        ({"llm_service": {"sample_percent": -1}}, ["sample_percent is -1"]),
        ({"llm_service": {"budget": {"error_rate": 1}}}, ["crossover:llm_service.budget.error_rate is 1"]),
        ({"llm_service": {"budget": {"eror_rate": 0.1}}}, ["no setting", "'error_rate'"]),
        ({"llm_service": {"quality": {"margin": 0}}}, ["crossover:llm_service.quality.margin is 0"]),
        (
            {"llm_service": {"quality": {"prompts": "there/is/none.jsonl"}}},
            ["there/is/none.jsonl cannot be read (No such file", "crossover:llm_service.quality.prompts FILE"],
        ),
        (
            {"llm_service": {"quality": {"prompts": "tests/__init__.py"}}},
            ["has 0 bytes", "crossover:llm_service.quality.prompts FILE"],
        ),
        (
            {"llm_service": {"limits": {"connect_seconds": 0}}},
            ["llm_service.limits.connect_seconds is 0", "greater than"],
        ),
        ({"llm_service": {"limits": {"max_inflight": 9}}}, ["llm_service.limits.max_inflight", "'max_in_flight'"]),
        (
            {"llm_service": {"limits": {"connect_seconds": 20, "first_token_seconds": 20}}},
            [
                "limits.first_token_seconds is 20 and limits.connect_seconds is 20",
                "told as a slow one",
                "crossover:llm_service.limits.first_token_seconds 40",
            ],
        ),
        (
            {"llm_service": {"limits": {"whole_seconds": 30}}},
            ["limits.whole_seconds is 30", "before the other side could be asked", "limits.whole_seconds 60"],
        ),
        (
            {"llm_service": {"timeout_seconds": 600}},
            ["limits.whole_seconds is 600 and timeout_seconds is 600", "never be seen", "limits.whole_seconds 1200"],
        ),
        (
            {"llm_service": {"limits": {"breaker_rest_seconds": 30}}},
            ["limits.breaker_longest_seconds is 10", "shorter time", "limits.breaker_longest_seconds 30"],
        ),
        (
            {"size": "small", "llm_service": {"limits": {"max_in_flight": 5000}}},
            ["limits.max_in_flight is 5000", "its pod has 384 at size small", "would be killed", "max_in_flight 1520"],
        ),
        (
            {"llm_service": {"limits": {"bodies_mib": 200}}},
            ["bodies_mib 200", "its pod has 512 at size standard", "crossover:llm_service.limits.bodies_mib 4"],
        ),
        (
            {"llm_service": {"stage": "shadow", "emergency": True}},
            ["language models have none", "crossover:llm_service.stage shadow", "config rm --path"],
        ),
        ({"llm_service": {"stage": "sclae"}}, ["crossover:llm_service.stage is 'sclae'", "Fix: "]),
        ({"database": {"hosted": {"host": "db.example"}}}, ["crossover:database.hosted.password", "--secret"]),
        ({"namespaces": {"hosted": "trading"}}, ["both 'trading'", "crossover:namespaces.hosted"]),
        ({"namespaces": {"audit": "trading"}}, ["audit is 'trading'", "crossover:namespaces.audit crossover-audit"]),
        ({"size": "huge"}, ["crossover:size is 'huge'", "small, standard"]),
        ({"market_feed": {"rate": -1}}, ["crossover:market_feed.rate is -1"]),
        ({"kube_context": ""}, ["crossover:kube_context is not set", "CROSSOVER_KUBE_CONTEXT"]),
    ],
)
def test_each_fault_is_told(raw: dict[str, Any], said: list[str]) -> None:
    (problem,) = _problems(**raw)
    for part in [*said, "Pulumi.local.yaml", "Fix: "]:
        assert part in problem
    assert "s3cret" not in problem and "user:pw" not in problem


def test_all_faults_at_once() -> None:
    problems = _problems(event_bus={"stage": "x", "partitions": 0, "extra": 1}, size="huge")
    assert len(problems) == 4


def test_a_secret_is_never_shown() -> None:
    problems = _problems(
        database={"hosted": {"host": "h", "password": ["hunter2"]}},
        llm_service={"api_key": {"key": "hunter2"}, "base_url": "nowhere"},
    )
    assert len(problems) == 3
    assert "hunter2" not in "".join(problems)


@pytest.mark.parametrize("stack", ["local", "mvp", "scale"])
def test_shipped_stacks_can_be_deployed(stack: str) -> None:
    parse(stack, {"kube_context": "c", **_stack_config(stack)})


@pytest.mark.parametrize(("stack", "stage"), [("mvp", "mvp"), ("scale", "scale")])
def test_the_ends_of_the_journey_have_every_flag_set(stack: str, stage: str) -> None:
    config = _stack_config(stack)
    flags = {key: value["stage"] for key, value in config.items() if isinstance(value, dict) and "stage" in value}
    assert flags == dict.fromkeys(("event_bus", "database", "llm_service", "backtesting"), stage)


def test_the_schema_of_pulumi_yaml_declares_every_key() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    assert set(project["config"]) == set(Settings.model_fields)
    for key, declared in project["config"].items():
        assert declared["description"], key
        field = Settings.model_fields[key]
        if not field.is_required() and declared["type"] != "object":
            assert declared["default"] == field.default, key


def _stack_config(stack: str) -> dict[str, Any]:
    stored = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return {key.removeprefix("crossover:"): value for key, value in stored.items()}
