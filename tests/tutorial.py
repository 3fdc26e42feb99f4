"""The blocks of docs/tutorial.md that are run as they stand."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/tutorial.md"
_BLOCK = re.compile(r"(?:<!-- run: (\w+)(?:, status ([\d or]+))? -->\n)?```sh\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One block. `where`: laptop, cluster, or empty where it is not run; `statuses` that it may end with."""

    where: str
    statuses: frozenset[int]
    script: str

    def run(self, folder: Path, environment: Mapping[str, str], seconds: float) -> str:
        """What it says. It ends at its first line that fails, with that line's status."""
        done = subprocess.run(
            ["sh", "-e", "-c", self.script], cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert done.returncode in self.statuses, f"status {done.returncode} of:\n{self.script}\n{done.stdout}"
        return done.stdout


def blocks(where: str) -> list[Block]:
    """Those of one place, in order."""
    found = [
        Block(place, frozenset(int(each) for each in (statuses or "0").split(" or ")), script)
        for place, statuses, script in _BLOCK.findall(PAGE.read_text())
    ]
    assert len(found) == PAGE.read_text().count("```sh\n")
    return [block for block in found if block.where == where]
