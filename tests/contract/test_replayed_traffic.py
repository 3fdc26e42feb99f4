"""What was recorded at mvp, on Redis and VectorBT, is asked again at scale: of real services on Kafka and on
NautilusTrader. And a difference that is planted is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import names
from contracts.llm import REQUIRED_ALIASES
from tests.contract import postgres_server
from tests.contract.faulty_llm import Faulty
from tests.contract.orchestrator_server import orchestrator
from tests.contract.own_servers import own_kafka, own_redis
from tests.contract.replayed_traffic import DATA, engine, kafka_environment, of, redis_environment, served
from validation.api.exchange import Exchange, read
from validation.api.replaying import ask_all, at_addresses, compared, recorded
from validation.result import Report

pytestmark = [pytest.mark.contract, pytest.mark.timeout(180)]

ENGINE, BACKTESTING = names.TRADING_ENGINE_NAME, names.BACKTESTING_NAME
ORCHESTRATOR = names.LLM_ORCHESTRATOR_NAME


def golden(service: str) -> tuple[Exchange, ...]:
    return read(DATA / f"traffic-{service}.jsonl")


def replayed(service: str, address: str) -> Report:
    return compared(list(ask_all(golden(service), at_addresses({service: address}))), settled=True)


def is_the_same(report: Report) -> None:
    assert not report.failures(), "\n".join(f"{one.name}: {one.found}: {one.detail}" for one in report.failures())


@pytest.fixture(scope="module")
def server() -> Iterator[postgres_server.Postgres]:
    binaries = postgres_server.find_postgres()
    if binaries is None:
        pytest.skip("needs Postgres here: see CONTRIBUTING")
    with postgres_server.postgres(binaries) as running:
        yield running


def test_what_is_recorded_is_what_comes_with_the_program() -> None:
    for service in (ENGINE, BACKTESTING):
        assert [one.request for one in golden(service)] == [one.request for one in of(service)]


def test_the_trading_engine_on_redis_answers_as_recorded_and_a_planted_difference_is_found(
    tmp_path: Path, server: postgres_server.Postgres
) -> None:
    with own_redis(tmp_path) as redis, engine(tmp_path, redis_environment(redis), server, "redis") as address:
        is_the_same(replayed(ENGINE, address))
        asked = list(ask_all(planted(golden(ENGINE)), at_addresses({ENGINE: address})))
        (found,) = compared(asked, settled=True).failures()
        assert found.detail == 'items.0.quantity: "1" -> "0"'


def planted(exchanges: tuple[Exchange, ...]) -> tuple[Exchange, ...]:
    """The same, with another quantity held."""
    at = next(place for place, one in enumerate(exchanges) if one.request.path.startswith("/positions"))
    changed = json.loads(exchanges[at].model_dump_json())
    changed["answer"]["content"]["items"][0]["quantity"] = "1"
    return (*exchanges[:at], Exchange.model_validate(changed), *exchanges[at + 1 :])


def test_the_trading_engine_on_kafka_answers_as_it_did_on_redis(
    tmp_path: Path, server: postgres_server.Postgres
) -> None:
    with own_kafka(tmp_path) as kafka, engine(tmp_path, kafka_environment(kafka), server, "kafka") as address:
        is_the_same(replayed(ENGINE, address))


def test_backtests_by_nautilus_come_to_what_vectorbt_came_to(tmp_path: Path) -> None:
    with served(tmp_path, "nautilus") as address:
        report = replayed(BACKTESTING, address)
    is_the_same(report)
    assert report.figures["same"] == len(golden(BACKTESTING))


def test_what_models_answer_is_the_same_by_its_form_and_a_refusal_is_another_answer(tmp_path: Path) -> None:
    with (
        Faulty("hosted") as hosted,
        orchestrator(hosted.url, dict.fromkeys(REQUIRED_ALIASES, "m"), "key", tmp_path / "log") as running,
    ):
        ask = at_addresses({ORCHESTRATOR: running.url.removesuffix("/v1")})
        exchanges = recorded(list(ask_all(of(ORCHESTRATOR), ask)))
        whole, streamed = [one.answer for one in exchanges if one.request.path.endswith("completions")][:2]
        assert whole is not None and whole.good and streamed is not None and streamed.content
        is_the_same(compared(list(ask_all(exchanges, ask))))
        hosted.fault = "refused"
        found = compared(list(ask_all(exchanges, ask)))
    assert [one.detail.partition(" 4")[0] for one in found.failures()] == ["status: 200 ->", "status: 200 ->"]
