"""A release is what its tag, its version and its notes agree on; workflows run pinned actions and what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.release.__main__ import ROOT, ReleaseError, main, notes

CHANGELOG = (
    "# Changes\n\n## Unreleased\n\n- next\n\n## 0.2.0 - 2026-05-01\n\n### Added\n- a thing\n\n## [0.1.0]\n\n- first\n"
)
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_the_notes_of_a_release_are_its_section_and_no_other() -> None:
    assert notes("v0.2.0", CHANGELOG, "0.2.0") == "### Added\n- a thing"
    assert notes("v0.1.0", CHANGELOG, "0.1.0") == "- first"


@pytest.mark.parametrize(
    ("tag", "version", "words"),
    [
        ("v0.3.0", "0.2.0", "pyproject.toml says 0.2.0"),
        ("v0.3.0", "0.3.0", "no section of 0.3.0"),
        ("0.2.0", "0.2.0", "tag v"),
    ],
)
def test_a_release_that_does_not_agree_with_itself_is_refused(tag: str, version: str, words: str) -> None:
    with pytest.raises(ReleaseError, match=re.escape(words)):
        notes(tag, CHANGELOG, version)


def test_a_tag_of_no_version_ends_with_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["v99.0.0"]) == 1
    assert "pyproject.toml says" in capsys.readouterr().err
    assert main([]) == 2


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: str(path.name))
def test_actions_are_pinned_to_a_commit_with_the_version_beside_it(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)", workflow.read_text())
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", one)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: str(path.name))
def test_a_workflow_has_least_rights_and_names_files_that_there_are(workflow: Path) -> None:
    whole = yaml.safe_load(workflow.read_text())
    assert whole["permissions"]["contents"] == "read"
    assert all(job["timeout-minutes"] <= 90 for job in whole["jobs"].values())
    for step in steps(workflow):
        told = step.get("run", "")
        for name in re.findall(r"-r (\S+)", told):
            assert (ROOT / name).exists(), name
        for target in re.findall(r"\bmake (\w+)", told):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
        # What others may write (titles, branches) is never put into a script.
        assert "${{" not in told
