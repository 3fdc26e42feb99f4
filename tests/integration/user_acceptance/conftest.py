"""What `crossover uat` gives these tests: the services of a stack that is up, what an earlier run saw there, and a file
for what came of each expectation. An expectation is a test's docstring, and who has it is its module's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from adapters.routes.kubernetes import connect
from adapters.routes.service_calls import Direct, Proxied, ServiceCalls
from cli.uat.running import ENV_BEFORE, ENV_QUIET, ENV_RECORD, ENV_TARGET

_FOUND: list[dict[str, Any]] = []
_SEEN: dict[str, Any] = {}

Services = Callable[[str], ServiceCalls]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They need a stack: without one they are for `crossover uat`."""
    if ENV_TARGET not in os.environ:
        here = str(Path(__file__).parent)
        for item in items:
            if str(item.path).startswith(here):
                item.add_marker(pytest.mark.skip(reason="they ask a stack that is up: crossover uat"))


@pytest.fixture(scope="session")
def service() -> Services:
    """The API of a service, by its name: where it was said to be, or through the API server."""
    target: dict[str, Any] = json.loads(os.environ[ENV_TARGET])
    asked: dict[str, ServiceCalls] = {name: Direct(url) for name, url in target["urls"].items()}

    def of(name: str) -> ServiceCalls:
        if name not in asked:
            asked[name] = Proxied(connect(target["context"]), target["namespace"], name)
        return asked[name]

    return of


@pytest.fixture(scope="session")
def seen() -> dict[str, Any]:
    """What this run sees, for a later one to find again."""
    return _SEEN


@pytest.fixture(scope="session")
def before() -> dict[str, Any]:
    """What an earlier run saw; a test of it is skipped where none was given."""
    path = os.environ.get(ENV_BEFORE)
    if not path:
        pytest.skip("no earlier report was given: crossover uat --before FILE.json")
    found: dict[str, Any] = json.loads(Path(path).read_text())["seen"]
    return found


@pytest.fixture(scope="session")
def quiet() -> bool:
    """Whether the market is closed, so that nothing new is to be expected."""
    return bool(os.environ.get(ENV_QUIET))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Note what came of an expectation."""
    report = yield
    doc = getattr(getattr(item, "function", None), "__doc__", None)
    if ENV_RECORD in os.environ and doc and (report.when == "call" or report.outcome != "passed"):
        _FOUND.append(
            {
                "who": str(getattr(item, "module", None).__doc__).partition(":")[0],
                "expects": " ".join(doc.split()),
                "test": item.name,
                "outcome": {"passed": "holds", "failed": "does not hold", "skipped": "not asked"}[report.outcome],
                "seconds": round(report.duration, 2),
                "detail": _why(report),
            }
        )
    return report


def _why(report: Any) -> str:
    if report.skipped:
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message).removeprefix("AssertionError: ") if crash is not None else ""


def pytest_sessionfinish() -> None:
    """Write it all."""
    if path := os.environ.get(ENV_RECORD):
        Path(path).write_text(json.dumps({"found": _FOUND, "seen": _SEEN}))
