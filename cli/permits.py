"""When components may be moved on: the maintenance window, the freeze file, and preflight where config requires it.
Ways back ask none of them: they are open at any moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from cli.declared import PROJECT
from cli.errors import CliError
from contracts.windows import EXAMPLE, InvalidWindow, Window
from validation.result import Check

FREEZE_FILE = "FREEZE"
"""In the project's folder, beside Pulumi.yaml: while it is there nothing is moved on. What it says is told."""
WINDOW_KEY = f"{PROJECT}:migration.window"
PREFLIGHT_KEY = f"{PROJECT}:migration.preflight"
_OFF, _REQUIRED = "off", "required"
_SHOWN = 8


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


def preflight_required(config: Mapping[str, Any]) -> bool:
    """Whether `config` has preflight asked before a component is moved on. Raises CliError where it cannot be used."""
    migration = config.get("migration")
    told = migration.get("preflight", _OFF) if isinstance(migration, Mapping) else _OFF
    if told not in (_OFF, _REQUIRED):
        raise CliError(
            f"{PREFLIGHT_KEY} is {told!r}, which is neither {_OFF} nor {_REQUIRED}: nothing is moved",
            f"pulumi config set --path {PREFLIGHT_KEY} {_REQUIRED}",
        )
    return bool(told == _REQUIRED)


def unprepared(found: Sequence[Check]) -> str:
    """Why nothing is moved on where `found` of preflight does not pass; empty where all of it does."""
    if not found:
        return ""
    told = [f"{check.name}: {check.detail if check.found == 'unknown' else check.found}" for check in found[:_SHOWN]]
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{PREFLIGHT_KEY} is {_REQUIRED}, and {len(found)} of its items do not pass: {'; '.join(told)}{more}"


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
