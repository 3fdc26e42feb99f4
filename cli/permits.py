"""When components may be moved on: the maintenance window, and the freeze file. Ways back ask neither: they are open at
any moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cli.declared import PROJECT
from cli.errors import CliError
from contracts.windows import EXAMPLE, InvalidWindow, Window

FREEZE_FILE = "FREEZE"
"""In the project's folder, beside Pulumi.yaml: while it is there nothing is moved on. What it says is told."""
WINDOW_KEY = f"{PROJECT}:migration.window"


def window_of(config: Mapping[str, Any]) -> Window | None:
    """The one that `config` names; None where it names none. Raises CliError where it cannot be used."""
    migration = config.get("migration")
    text = migration.get("window") if isinstance(migration, Mapping) else None
    if text in (None, ""):
        return None
    try:
        return Window.parse(str(text))
    except InvalidWindow as error:
        raise CliError(
            f"{WINDOW_KEY} is {text!r}, which is no maintenance window ({error}): nothing is moved",
            f'pulumi config set --path {WINDOW_KEY} "{EXAMPLE}"',
        ) from None


def frozen(root: Path) -> str | None:
    """What the freeze file says, None where there is none. Raises CliError where it cannot be read: then it counts."""
    file = root / FREEZE_FILE
    try:
        return file.read_text(errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CliError(f"{file.name} cannot be read ({error.strerror}): nothing is moved on", f"see {file}") from None


def refusal(now: datetime, window: Window | None, freeze: str | None) -> str | None:
    """Why nothing is moved on at `now`; None where it may be."""
    if freeze is not None:
        return f"{FREEZE_FILE} is there" + (f": {freeze}" if freeze else "")
    if window is not None and not window.open(now):
        return f"the maintenance window is closed until {window.opens_after(now):%A %Y-%m-%d %H:%M %Z}"
    return None
