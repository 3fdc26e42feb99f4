"""Where services send traces, and that they may."""

from __future__ import annotations

from contracts import names
from contracts.stages import Stage
from tests.components.rendering import Program, at, render, template

SERVICES = (names.TRADING_ENGINE_NAME, names.LLM_ORCHESTRATOR_NAME, names.BACKTESTING_NAME, names.MARKET_FEED_NAME)


def told(program: Program, service: str) -> dict[str, str]:
    (container,) = template(program.one("Deployment", service))["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"] if one["name"].startswith("OTEL_")}


def test_each_service_is_told_and_may_reach_the_collector_alone_at_its_port() -> None:
    traces = {"endpoint": "http://otel-collector.observability:4318", "ratio": 0.25, "namespace": "observability"}
    program = render({"traces": traces})
    for service in SERVICES:
        assert told(program, service) == {
            names.ENV_TRACES_ENDPOINT: traces["endpoint"],
            names.ENV_TRACES_RATIO: "0.25",
            "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
        }
        spec = program.one("NetworkPolicy", f"trading-{service}-traces").manifest["spec"]
        assert spec["podSelector"] == {"matchLabels": {"app": service}}
        assert spec["egress"] == [
            {
                "ports": [{"port": 4318, "protocol": "TCP"}],
                "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}],
            }
        ]


def test_a_collector_elsewhere_is_reached_at_the_schemes_own_port() -> None:
    program = render({"traces": {"endpoint": "https://traces.example.com"}})
    spec = program.one("NetworkPolicy", f"trading-{names.MARKET_FEED_NAME}-traces").manifest["spec"]
    assert spec["egress"] == [{"ports": [{"port": 443, "protocol": "TCP"}]}]


def test_without_a_collector_nothing_is_told_and_nothing_opened() -> None:
    program = at(Stage.MVP)
    assert [told(program, service) for service in SERVICES] == [{}] * len(SERVICES)
    assert not [name for name in program.names("NetworkPolicy") if name.endswith("-traces")]
