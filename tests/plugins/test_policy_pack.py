"""The policy pack as `pulumi preview --policy-pack` runs it: the real CLI, the pack in its own virtual environment, and
the real program."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.stack import Stack
from contracts.stages import Component, Stage
from tests.plugins.cli import ROOT, Project

pytestmark = pytest.mark.plugins
UV = Path(sys.prefix) / "bin" / "uv"
DIGEST = "sha256:" + "0" * 64
IMAGES = ("workload", "backtesting", "redis", "kafka", "postgres", "pgbouncer", "llm")
PROGRAM = f"""
    import runpy, sys

    sys.path.insert(0, {str(ROOT)!r})
    runpy.run_path({str(ROOT / "__main__.py")!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack, with what its lock file pins, and nothing of the program's own environment."""
    folder = tmp_path_factory.mktemp("pack") / "policy"
    shutil.copytree(ROOT / "policy", folder, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    python = folder / ".venv" / "bin" / "python"
    for command in (
        ["venv", "--python", sys.executable, str(folder / ".venv")],
        ["pip", "install", "--python", str(python), "--require-hashes", "-r", str(folder / "requirements.txt")],
    ):
        subprocess.run([UV, "--quiet", *command], check=True)
    return folder


def stack(project: Project, **config: object) -> Project:
    """The real program, with config."""
    project.write(PROGRAM)
    values = {"kube_context": "nowhere", **config}
    pairs = [
        f"crossover:{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()
    ]
    project.run("config", "set-all", *(word for pair in pairs for word in ("--plaintext", pair)))
    return project


def seen(stage: str, hours: float) -> dict[str, object]:
    """Evidence of an event bus that stands at `stage`, compared and backed up so many hours ago."""
    at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    rest = {name: {"stage": "mvp"} for name in ("database", "llm_service", "backtesting")}
    bus = {"stage": stage, "verdict": "holds", "verdict_at": at}
    return {"at": at, "backup_at": at, "components": {"event_bus": bus, **rest}}


def processes_with(word: str) -> list[str]:
    """The command lines of processes that have `word` in theirs."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if word in line]


PINNED = {"references": {name: f"registry.example/crossover/{name}@{DIGEST}" for name in IMAGES}}


def test_a_stack_in_production_that_keeps_the_rules_passes(project: Project, pack: Path) -> None:
    stack(project, environment="production", images=PINNED, event_bus={"stage": "complete"}, evidence=seen("scale", 1))
    told = project.preview("--policy-pack", str(pack)).output
    assert "crossover@v0.1.0" in told
    assert "mandatory" not in told.lower()
    assert processes_with(str(pack)) == [], "the pack outlives the command that asked it"


def test_a_stack_in_production_that_breaks_them_is_refused_with_each_and_its_fix(project: Project, pack: Path) -> None:
    stack(
        project, environment="production", protect_data="false", event_bus={"stage": "complete"},
        evidence=seen("shadow", 30),
    )  # fmt: skip
    told = project.run("preview", "--policy-pack", str(pack), status=1).output
    for words in (
        "images-are-pinned", "localhost/crossover/workload:local", "data-is-kept", "crossover:protect_data true",
        "complete-is-proven", "30.0 h old, the limit is 24 h", "no-stage-is-skipped", "--to scale",
        "a-backup-is-fresh", "crossover backup",
    ):  # fmt: skip
        assert words in told
    assert "pods-are-restricted" not in told
    assert "no-plain-secrets" not in told


def test_the_command_takes_the_pack_from_the_environment_and_a_laptops_stack_passes(
    project: Project, pack: Path
) -> None:
    project.environment["PULUMI_OPTION_POLICY_PACK"] = str(pack)
    stack(project, protect_data="false")
    assert "crossover@v0.1.0" in project.preview().output


def test_what_is_attested_replaces_what_was_in_config(project: Project) -> None:
    stack(project, event_bus={"stage": "mvp"})
    kept = Stack("test", project.folder, project.environment)
    first = {"at": "2026-05-01T12:00:00Z", "components.event_bus.stage": "mvp"}
    for seen_at in (first, {"at": "2026-05-02T12:00:00Z"}):
        kept.note("evidence", seen_at)
    assert kept.config()["evidence"] == {"at": "2026-05-02T12:00:00Z"}
    assert kept.wanted()[Component.EVENT_BUS] is Stage.MVP
