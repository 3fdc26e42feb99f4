"""The user guide: how each API is reached at the present stage, with examples. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.documents.markdown import block, cell, code, table
from cli.documents.model import Facts, Standing
from contracts import names
from contracts.stages import Component

_BEHIND = {
    names.TRADING_ENGINE_NAME: (Component.EVENT_BUS, Component.DATABASE),
    names.LLM_ORCHESTRATOR_NAME: (Component.LLM_SERVICE,),
    names.BACKTESTING_NAME: (Component.BACKTESTING,),
    names.MARKET_FEED_NAME: (Component.EVENT_BUS,),
}
"""Which components stand behind a service."""
EXAMPLES = {
    names.TRADING_ENGINE_NAME: (
        ("The newest orders, and what is held", "curl -s '{url}/orders?limit=5'\ncurl -s '{url}/positions'"),
    ),
    names.LLM_ORCHESTRATOR_NAME: (
        (
            "A question, by OpenAI's API",
            "curl -s '{url}/v1/chat/completions' -H 'content-type: application/json' \\\n"
            """  -d '{{"model": "default", "messages": [{{"role": "user", "content": "What is a crossover?"}}]}}'""",
        ),
    ),
    names.BACKTESTING_NAME: (
        ("What can be asked for", "curl -s '{url}/offer'"),
        (
            "A backtest, followed, and its result; ID is what the first answers",
            "curl -s '{url}/backtests' -H 'content-type: application/json' \\\n"
            """  -d '{{"strategy": "sma_cross", "parameters": {{"fast": 10, "slow": 30}}, "symbol": "SP500"}}'\n"""
            "curl -s '{url}/backtests/ID'\ncurl -s '{url}/backtests/ID/result'",
        ),
    ),
    names.MARKET_FEED_NAME: (("What was published", "curl -s '{url}/feed'"),),
}
_LOCAL = 8000
_METHODS = ("get", "post", "put", "patch", "delete")


def user_guide(facts: Facts, documents: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page. `documents`: the OpenAPI document of each service, by its name; they lie beside it in api/."""
    parts = [
        f"# How to use the backend of stack {cell(facts.stack)}",
        "Written by `crossover docs`. The APIs are the same at every stage, and so are the addresses; what stands "
        "behind them now is told with each.",
        table(
            ("what", "is done now by", "at stage"),
            [(_TITLES[one.component], cell(one.serves), one.active) for one in facts.standings],
        ),
        "## From where",
        "Within the cluster, pods reach the addresses below; network policies let only those through that bear the "
        f'label `{names.LABEL_HTTP_CLIENT}: "true"`. From a laptop with access to the cluster, one service at a time:',
        block(f"kubectl -n {facts.namespace} port-forward service/SERVICE {_LOCAL}:{names.HTTP_PORT}"),
        *(_service(facts, name, documents[name]) for name in EXAMPLES),
        "## The event bus and the database",
        "Programs publish and subscribe through the adapter (`adapters.event_bus.open_bus`), which follows the route, "
        "and connect to the database by `DATABASE_URL`, which is the pooler's at every stage. "
        f"{_now(facts, Component.EVENT_BUS)} {_now(facts, Component.DATABASE)}",
    ]
    return "\n\n".join(parts) + "\n"


_TITLES = {
    Component.EVENT_BUS: "events",
    Component.LLM_SERVICE: "language models",
    Component.DATABASE: "the database",
    Component.BACKTESTING: "backtests",
}


def _of(facts: Facts, component: Component) -> Standing:
    return next(one for one in facts.standings if one.component is component)


def _now(facts: Facts, component: Component) -> str:
    standing = _of(facts, component)
    return f"Of {_TITLES[component]}, {cell(standing.serves)} serves now, at stage {standing.active}."


def _service(facts: Facts, name: str, document: Mapping[str, Any]) -> str:
    inside = f"http://{name}.{facts.namespace}.svc.{facts.cluster_domain}:{names.HTTP_PORT}"
    rows = [
        (code(f"{method.upper()} {path}"), cell(told.get("description") or told.get("summary", "")))
        for path, operations in sorted(document["paths"].items())
        for method, told in sorted(operations.items()) if method in _METHODS
    ]  # fmt: skip
    examples = [f"{title}:\n\n{block(text.format(url=f'http://127.0.0.1:{_LOCAL}'))}" for title, text in EXAMPLES[name]]
    return "\n\n".join(
        [
            f"## {cell(document['info']['title'])}",
            f"{code(inside)}. {' '.join(_now(facts, component) for component in _BEHIND[name])} "
            f"Every field stands in [its OpenAPI document](api/{name}.json), and at `/docs` of the service.",
            *examples,
            table(("request", "what"), rows),
        ]
    )
