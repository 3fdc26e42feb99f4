"""`python -m local.release TAG`: the notes of the release, on stdout. Fails where the tag, the version in
pyproject.toml and a section of CHANGELOG.md do not agree."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SECTION = re.compile(r"^## \[?v?(\d+\.\d+\.\d+[^\s\]]*)\]?[^\n]*\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


class ReleaseError(Exception):
    """There is no such release: what is wrong, and what to do."""


def notes(tag: str, changelog: str, version: str) -> str:
    """The notes of `tag`, which has to be `v` and `version`. Raises ReleaseError."""
    if tag != f"v{version}":
        raise ReleaseError(
            f"the tag is {tag}, and pyproject.toml says {version}: tag v{version}, or change the version"
        )
    sections: dict[str, str] = {found: text.strip() for found, text in _SECTION.findall(changelog)}
    if not sections.get(version):
        known = ", ".join(sections) or "none"
        raise ReleaseError(
            f"CHANGELOG.md has no section of {version} (those there are: {known}): what is under Unreleased goes under "
            f"`## {version}`"
        )
    return sections[version]


def main(arguments: list[str]) -> int:
    """Print the notes; the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m local.release TAG\n")
        return 2
    version = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    try:
        sys.stdout.write(notes(arguments[0], (ROOT / "CHANGELOG.md").read_text(), version) + "\n")
    except ReleaseError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
