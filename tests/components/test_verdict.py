"""The verdict at the laptop, from what a Transition Job really prints."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from kubernetes.config import kube_config
from urllib3.exceptions import HTTPError

from components import verdict
from components.verdict import missing, report
from contracts.stages import Component, Stage
from cutover.reporting import as_json, summary
from cutover.run import HOLDS, Outcome, StepRecord

BUS = Component.EVENT_BUS


def _log(outcome: Outcome) -> str:
    return "\n".join(["event_bus: shadow -> scale", "{not json", summary(BUS, outcome), as_json(BUS, outcome), ""])


def test_the_table_names_stage_verdict_and_steps() -> None:
    records = [
        StepRecord("shadow -> scale", "fence", HOLDS, "3 adapters", 0.12),
        StepRecord("shadow -> scale", "open", HOLDS, "", 0.03),
    ]
    text = report(BUS, _log(Outcome(Stage.SCALE, Stage.SCALE, HOLDS, "", records)))
    assert text is not None
    lines = text.splitlines()
    assert lines[0] == "event_bus: VERDICT holds, at scale"
    assert lines[1].strip() == "shadow -> scale"
    assert lines[2].split() == ["fence", "holds", "0.120", "s"]
    assert lines[3].split() == ["open", "holds", "0.030", "s"]


def test_a_run_with_nothing_to_do_says_so() -> None:
    text = report(BUS, _log(Outcome(Stage.MVP, Stage.MVP)))
    assert text is not None
    assert "nothing to do" in text


def test_a_log_without_a_verdict_is_not_a_pass() -> None:
    assert report(BUS, "some line\n{}\n") is None
    assert report(BUS, _log(Outcome(Stage.MVP, Stage.MVP)).replace("event_bus", "database")) is None
    assert "could not be read" in missing(BUS, "trading", "j")
    assert "kubectl logs -n trading job/j" in missing(BUS, "trading", "j")


def test_what_reads_the_log_leaves_no_key_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inline = base64.b64encode(b"of nobody").decode()
    user = {"client-certificate-data": inline, "client-key-data": inline}
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority-data": inline}
    config = tmp_path / "config"
    config.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": cluster}], "users": [{"name": "x", "user": user}],
    }))  # fmt: skip
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    written = kube_config._create_temp_file_with_content
    files: list[str] = []

    def noted(*args: Any, **named: Any) -> str:
        files.append(written(*args, **named))
        return files[-1]

    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(config))
    monkeypatch.setattr(kube_config, "_create_temp_file_with_content", noted)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for _ in range(2):  # of one update: each component has its Transition
        with pytest.raises((HTTPError, OSError)):
            verdict._read_log("x", "trading", "j")
        assert list(temporary.iterdir()) == []
    assert files
    assert all(file.startswith(str(temporary)) for file in files)
