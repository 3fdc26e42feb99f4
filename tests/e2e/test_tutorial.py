"""What the tutorial does on the cluster, as it stands there."""

from __future__ import annotations

import os

import pytest

from contracts.stages import Stage
from tests.e2e.journey import Stack
from tests.tutorial import blocks

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_what_is_told_of_the_cluster_can_be_done_there(backtests: Stack) -> None:
    environment = {**os.environ, **backtests.env, "COLUMNS": "200"}
    told = [block.run(backtests.root, environment, 400) for block in blocks("cluster")]
    services, moved, back, log, page = told[1:]
    assert all(words in services for words in ('"items"', '"default"', "buy_and_hold"))
    assert "mvp => shadow" in moved
    assert "shadow => mvp" in back
    assert "mvp -> shadow" in log and "are whole" in log
    assert "sha256 of its data" in page
    assert backtests.route()[0].stage is Stage.MVP
