"""What users expect of the backend, asked of it on the cluster through the API server, before a component moves and
after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.audit import Entry, Kind
from contracts.stages import Stage
from tests.e2e.journey import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_users_accept_the_backend_and_find_again_what_they_had_once_a_component_moved(
    backtests: Stack, tmp_path: Path
) -> None:
    first = tmp_path / "first.json"
    first.write_text(backtests.crossover("uat", "--json", "--report", str(tmp_path / "first.html")))
    backtests.bring_to(Stage.SHADOW)
    try:
        told = json.loads(backtests.crossover("uat", "--json", "--before", str(first)))
    finally:
        backtests.bring_to(Stage.MVP)
    assert told["accepted"] and told["stages"]["backtesting"] == "shadow"
    assert {one["outcome"] for one in told["expectations"]} == {"holds"}
    log = [Entry.read(line) for line in backtests.crossover("audit", "list", "--json").splitlines()]
    assert told["digest"] in [entry.data["digest"] for entry in log if entry.kind == Kind.ACCEPTANCE]
    assert "Accepted" in (tmp_path / "first.html").read_text()
