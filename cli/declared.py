"""What a stack's config file says, read without Pulumi. Secrets in it are not read: a placeholder stands for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cli.errors import CliError
from contracts import names
from contracts.stages import Component, Stage

PROJECT = "crossover"
SECRET = "(secret)"  # noqa: S105 - what stands for one


def file_of(stack: str) -> str:
    """The name of the stack's config file."""
    return f"Pulumi.{stack}.yaml"


def declared(root: Path, stack: str, file: Path | None = None) -> dict[str, Any]:
    """By key, without the project: what the stack's file sets, and the defaults of Pulumi.yaml. Raises CliError, with
    file and line, where one cannot be read."""
    own = _read(file or root / file_of(stack)).get("config") or {}
    defaults = _read(root / "Pulumi.yaml").get("config") or {}
    prefix = f"{PROJECT}:"
    found = {key: value["default"] for key, value in defaults.items() if "default" in (value or {})}
    return found | {key.removeprefix(prefix): _open(value) for key, value in own.items() if key.startswith(prefix)}


def entry(config: Mapping[str, Any], component: Component) -> Mapping[str, Any]:
    """What config says of `component`; nothing where that is no object."""
    found = config.get(component.value)
    return found if isinstance(found, Mapping) else {}


def wanted_stages(config: Mapping[str, Any], file: str) -> dict[Component, Stage]:
    """The stages that `config` asks for; mvp where it says nothing. Raises CliError on an unknown one, with
    `file`."""
    stages = {}
    for component in Component:
        text = entry(config, component).get("stage", Stage.MVP.value)
        if text not in list(Stage):
            raise CliError(
                f"{file} asks for stage {text!r} of {component.value}, which does not exist",
                f"pulumi config set --path {PROJECT}:{component.value}.stage mvp|shadow|scale|complete",
            )
        stages[component] = Stage(text)
    return stages


def emergencies(config: Mapping[str, Any]) -> set[Component]:
    """The components for which `config` declares an emergency."""
    return {component for component in Component if entry(config, component).get("emergency") not in (None, False)}


def verdict_hours(config: Mapping[str, Any], component: Component) -> float:
    """How old a comparison of `component` may be; the default where config says nothing that is a number."""
    found = entry(config, component).get("verdict_hours")
    try:
        return float(found if found is not None else names.DEFAULT_VERDICT_HOURS)
    except (TypeError, ValueError):
        return names.DEFAULT_VERDICT_HOURS


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise CliError(
            f"there is no {file.name}, so nothing says what the stack is to be", "pulumi stack ls names the stacks"
        ) from None
    except (OSError, yaml.YAMLError) as error:
        raise CliError(f"{file.name}{_where(error)}", "mend it by hand, or from its last version") from None
    if not isinstance(found, dict):
        raise CliError(f"{file.name} holds no keys", "it has to begin with `config:`")
    return found


def _where(error: Exception) -> str:
    """What is wrong, and in which line. The whole text would quote that line, with whatever stands there."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f", line {error.problem_mark.line + 1}, cannot be read: {error.problem}"
    return f" cannot be read: {type(error).__name__}"


def _open(value: Any) -> Any:
    """With the placeholder where a secret is."""
    if isinstance(value, dict):
        return SECRET if set(value) == {"secure"} else {key: _open(each) for key, each in value.items()}
    return [_open(each) for each in value] if isinstance(value, list) else value
