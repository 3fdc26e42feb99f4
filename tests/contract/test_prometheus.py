"""The alert rules under a real Prometheus: each fires where it should, and no other does; a real service is scraped."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import yaml

from contracts import names
from services.common.web import Health, create_app
from tests.contract.bus_servers import free_port
from tests.contract.orchestrated import served

pytestmark = [pytest.mark.contract, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "observability" / "alerts.yaml"
SECONDS = 30.0
Series = dict[str, str]
"""A metric with its labels, and a value a minute as promtool writes them: 5+2x3 is 5, 7, 9, 11."""


class Case(NamedTuple):
    """What makes an alert fire at `minute`, and what comes near to it and does not."""

    minute: int
    fires: Series
    not_yet: Series


CASES = {
    "EventsAreHeldByAFence": Case(
        2, {'crossover_bus_held_events{pod="a"}': "5x9"}, {'crossover_bus_held_events{pod="a"}': "5 0 5 0 5"}
    ),
    "AdaptersFollowDifferentEpochs": Case(
        3,
        {'crossover_bus_epoch{pod="a"}': "7x9", 'crossover_bus_epoch{pod="b"}': "6x9"},
        {'crossover_bus_epoch{pod="a"}': "7x9", 'crossover_bus_epoch{pod="b"}': "0x9"},  # it has only begun
    ),
    "PublishingFails": Case(
        6,
        {'crossover_bus_publish_failed_total{topic="orders",error="PublishTimeout"}': "0+1x9"},
        {'crossover_bus_publish_failed_total{topic="orders",error="PublishTimeout"}': "9x9"},
    ),
    "AGroupFallsBehind": Case(
        25,
        {'crossover_bus_lag_events{topic="orders",group="g"}': "0+2000x40"},
        {'crossover_bus_lag_events{topic="orders",group="g"}': "90000-2000x40"},  # it catches up
    ),
    "EventsAreSetAside": Case(
        3,
        {'crossover_bus_dead_lettered_total{topic="orders",group="g"}': "0 0 1 1 1"},
        {'crossover_bus_dead_lettered_total{topic="orders",group="g"}': "1x9"},
    ),
    "TheCarrierDoesNotRead": Case(
        3,
        {'crossover_database_carrier_up{source="hosted"}': "0x9"},
        {'crossover_database_carrier_up{source="hosted"}': "0 1 0 1 0"},
    ),
    "TheOtherSideFallsBehind": Case(
        6,
        {'crossover_database_behind_seconds{source="hosted"}': "100x9"},
        {'crossover_database_behind_seconds{source="hosted"}': "59x9"},
    ),
    "ASlotIsNearlyLost": Case(
        6,
        {'crossover_database_slot_safe_bytes{source="hosted"}': "1000x9"},
        {'crossover_database_slot_safe_bytes{source="hosted"}': "1073741824x9"},
    ),
    "RowsAreNotCarried": Case(
        11,
        {'crossover_database_unfollowed_tables{source="hosted"}': "2x20"},
        {'crossover_database_unfollowed_tables{source="hosted"}': "2x5 0x20"},
    ),
    "ThePoolerIsPaused": Case(
        2, {'crossover_pooler_paused{pod="a"}': "1x9"}, {'crossover_pooler_paused{pod="a"}': "1 0 1 0 1"}
    ),
    "ASideIsLeftAlone": Case(
        3,
        {'crossover_llm_breaker{backend="vllm",model="m"}': "2x9"},
        {'crossover_llm_breaker{backend="vllm",model="m"}': "1x9"},
    ),
    "CallsAreTurnedAway": Case(
        8, {'crossover_llm_shed_total{reason="queue"}': "0+5x20"}, {'crossover_llm_shed_total{reason="queue"}': "50x20"}
    ),
    "BacktestsFail": Case(
        45,
        {'crossover_backtests_total{state="failed"}': "0+1x60", 'crossover_backtests_total{state="done"}': "0+1x60"},
        {'crossover_backtests_total{state="failed"}': "0+1x60", 'crossover_backtests_total{state="done"}': "0+9x60"},
    ),
    "AServiceFails": Case(
        12,
        {
            'crossover_http_requests_total{job="engine",status="503"}': "0+2x20",
            'crossover_http_requests_total{job="engine",status="200"}': "0+98x20",
        },
        {
            'crossover_http_requests_total{job="engine",status="503"}': "0+1x20",
            'crossover_http_requests_total{job="engine",status="200"}': "0+999x20",
        },
    ),
    "SignalsWaitForTheBus": Case(
        6, {"crossover_engine_outbox_waiting": "2000x9"}, {"crossover_engine_outbox_waiting": "900x9"}
    ),
}


@pytest.fixture(autouse=True)
def programs() -> None:
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip("prometheus is not installed here")


def told(alert: str, minute: int, series: Series, firing: list[str]) -> dict[str, Any]:
    """A test of promtool: which alerts fire at that minute."""
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing]
    return {
        "name": f"{alert}: {'fires' if firing else 'does not fire'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minute}m",
                "exp_samples": samples,
            }
        ],
    }


def promtool(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_alert_fires_where_it_should_alone_and_not_just_before(tmp_path: Path) -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    assert {rule["alert"] for group in groups for rule in group["rules"]} == set(CASES)
    promtool("check", "rules", str(RULES), cwd=tmp_path)
    tests = [told(name, case.minute, case.fires, [name]) for name, case in CASES.items()]
    tests += [told(name, case.minute, case.not_yet, []) for name, case in CASES.items()]
    cases = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump(cases, sort_keys=False))
    promtool("test", "rules", file.name, cwd=tmp_path)


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """One that scrapes `target` and has our rules; the URL of its API."""
    config = {
        "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms", "scrape_timeout": "200ms"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": names.MARKET_FEED_NAME, "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process:
        try:
            yield f"http://{address}/api/v1"
        finally:
            process.kill()


def test_a_real_service_is_scraped_and_the_rules_are_evaluated(tmp_path: Path) -> None:
    app = create_app(names.MARKET_FEED_NAME, "Feed", "", health=Health(), lifecycle=None)
    with served(app) as url:
        base = url.removesuffix("/v1")
        assert requests.get(f"{base}/version", timeout=SECONDS).status_code == 200
        with prometheus(tmp_path, base.removeprefix("http://")) as api:
            asked = f'crossover_http_requests_total{{job="{names.MARKET_FEED_NAME}",route="/version",status="200"}}'
            found = waited(lambda: query(api, asked))
            groups = waited(lambda: evaluated(api))
    assert float(found[0]["value"][1]) >= 1
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    assert len([rule for group in groups for rule in group["rules"]]) == len(CASES)


def query(api: str, asked: str) -> list[Any]:
    answer = requests.get(f"{api}/query", params={"query": asked}, timeout=SECONDS)
    return list(answer.json()["data"]["result"]) if answer.ok else []


def evaluated(api: str) -> list[Any]:
    """The groups of rules, once each rule was evaluated."""
    groups: list[Any] = requests.get(f"{api}/rules", timeout=SECONDS).json()["data"]["groups"]
    return groups if all(rule["health"] != "unknown" for group in groups for rule in group["rules"]) else []


def waited(ask: Any) -> list[Any]:
    """What `ask` gives, once it gives something."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            found: list[Any] = ask()
        except requests.ConnectionError:
            found = []
        if found:
            return found
        assert time.monotonic() < deadline, "nothing was found"
        time.sleep(0.05)  # polling with a deadline
