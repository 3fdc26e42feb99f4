"""The documents of a stack: all that runs is told, whatever order it is listed in; nothing secret is; what could not be
asked is said. The cluster is what the program would have made."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.routes.base import RouteUnavailable
from adapters.routes.memory import MemoryRouteStore
from cli.__main__ import app
from cli.documents import command
from cli.documents.command import gathered, write
from cli.documents.gathering import CLAIMS, KINDS, SERVICES, Listed
from cli.documents.markdown import cell, code
from cli.documents.model import Facts
from cli.errors import CliError
from contracts.routes import Route
from contracts.stages import Component, Stage
from tests.components.rendering import at
from tests.unit.test_documents import commands, problem

ROOT = Path(__file__).parents[4]
CONFIG: dict[str, Any] = {
    "kube_context": "prod", "size": "standard", "environment": "production",
    "event_bus": {"stage": "shadow", "partitions": 16, "watch_seconds": 10},
    "database": {"stage": "mvp", "hosted": {"host": "db.example.com", "password": "(secret)"}, "accept": ["backup"]},
    "llm_service": {"stage": "mvp", "base_url": "https://user:hunter2@llm.example.com/v1"},
    "evidence": {"at": "2026-05-01T12:00:00Z"},
}  # fmt: skip
ROUTE = Route(component=Component.EVENT_BUS, stage=Stage.SHADOW, active="redis", epoch=3)
_PATHS = {**KINDS, "Service": SERVICES, "PersistentVolumeClaim": CLAIMS}


def cluster(seed: int = 1, broken: str = "") -> Listed:
    """Lists what the program makes at shadow, in an order of its own."""

    def listed(path: str) -> Sequence[Mapping[str, Any]]:
        if broken and broken in path:
            raise RouteUnavailable(f"{path}: forbidden", status=403, said="")
        (kind,) = (kind for kind, at_path in _PATHS.items() if path.endswith(at_path.rsplit("/", 1)[-1]))
        namespace = path.partition("/namespaces/")[2].partition("/")[0]
        made = [r.manifest for r in at(Stage.SHADOW).of(kind) if r.manifest["metadata"]["namespace"] == namespace]
        random.Random(seed).shuffle(made)
        return made

    return listed


def facts(listed: Listed | None = None, **changes: Any) -> Facts:
    store = MemoryRouteStore(ROUTE, create=False)
    return gathered(CONFIG | changes, "prod", store, listed or cluster(), {"Pulumi": "v3.256.0", "crossover": "0.1.0"})


def written(made: Facts, folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in write(made, folder, ROOT)}


def test_the_same_stack_gives_the_same_files_whatever_order_the_cluster_lists_in(tmp_path: Path) -> None:
    first, second = (written(facts(cluster(seed)), tmp_path / str(seed)) for seed in (1, 2))
    assert first == second
    assert set(first) == {
        "deployment.md", "user-guide.md", "api/trading-engine.json", "api/llm-orchestrator.json",
        "api/backtesting-service.json", "api/market-feed.json",
    }  # fmt: skip


def test_the_deployment_page_tells_of_all_that_runs(tmp_path: Path) -> None:
    page = written(facts(), tmp_path)["deployment.md"]
    for kind in _PATHS:
        for one in at(Stage.SHADOW).of(kind):
            assert f"`{one.manifest['metadata']['name']}" in page, one.key
    assert "| event_bus | shadow | shadow | redis | kafka, redis | 3 |" in page
    assert "| database | mvp | not deployed | nobody | nothing | - |" in page
    assert "`localhost/crossover/workload:local`" in page
    assert "cpu " in page and "memory " in page
    assert "Not complete" not in page


def test_config_is_told_where_it_is_not_the_default_and_secrets_nowhere(tmp_path: Path) -> None:
    page = written(facts(), tmp_path)["deployment.md"]
    assert "| `crossover:event_bus.partitions` | `16` | `8` |" in page
    assert "| `crossover:database.hosted.host` | `db.example.com` | `-` |" in page
    assert "| `crossover:database.accept` | `backup` | `` |" in page or "database.accept` | `backup` |" in page
    assert "watch_seconds" not in page and "crossover:size" not in page and "evidence" not in page
    secrets = {secret for one in at(Stage.SHADOW).resources for secret in one.secrets if len(secret) > 7}
    assert secrets and not any(secret in page for secret in secrets)
    assert "hunter2" not in page


def test_the_guide_tells_who_answers_now_and_how_to_ask(tmp_path: Path) -> None:
    guide = written(facts(), tmp_path)["user-guide.md"]
    assert "| events | redis | shadow |" in guide
    assert "`http://trading-engine.trading.svc.cluster.local:8000`" in guide
    for words in (
        "POST /v1/chat/completions",
        "GET /orders",
        "POST /backtests",
        "port-forward service/SERVICE 8000:8000",
    ):
        assert words in guide
    for body in re.findall(r"-d '(.*?)'", guide):
        assert json.loads(body)
    assert set(re.findall(r"\]\((api/[^)]+)\)", guide)) == {
        name for name in written(facts(), tmp_path) if "api" in name
    }


def test_command_lines_on_the_pages_are_taken(tmp_path: Path) -> None:
    found = [words for text in written(facts(), tmp_path).values() for words in commands(text)]
    # They name the command that wrote them, and ask for nothing.
    assert found and all(problem([*words, "--out", "FOLDER"]) is None for words in found)


def test_what_could_not_be_asked_is_said_on_the_page(tmp_path: Path) -> None:
    made = facts(cluster(broken="persistentvolumeclaims"))
    assert len(made.gaps) == 2
    page = written(made, tmp_path)["deployment.md"]
    assert "**Not complete:**" in page and "persistentvolumeclaims could not be listed" in page
    assert "trading-engine" in page


def test_text_ends_no_cell() -> None:
    assert cell("a|b\nc<d") == "a\\|b c&lt;d"
    assert code("a`b|c") == "`a'b\\|c`" and code("") == ""


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CliError, match="cannot be written"):
        write(facts(), tmp_path / "file", ROOT)


@pytest.mark.parametrize(("broken", "status"), [("", 0), ("deployments", 1)])
def test_the_command_says_what_it_wrote_and_what_it_could_not_ask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str, status: int
) -> None:
    monkeypatch.setattr(command, "declared", lambda root, stack: CONFIG)
    monkeypatch.setattr(command, "versions", lambda *_: {"crossover": "0.1.0"})
    monkeypatch.setattr(command, "connect", lambda context: context)
    monkeypatch.setattr(command, "KubernetesRouteStore", lambda *_: MemoryRouteStore(ROUTE, create=False))
    listed = cluster(broken=broken)

    class Answer:
        def __init__(self, path: str) -> None:
            self.object = {"items": listed(path)}

    monkeypatch.setattr(command, "call", lambda api, method, path, timeout: Answer(path))
    result = CliRunner().invoke(app, ["docs", "--out", str(tmp_path / "out"), "--stack", "prod"])
    assert result.exit_code == status, result.output
    assert "user-guide.md" in result.output
    assert ("not told" in result.output) is bool(broken)
