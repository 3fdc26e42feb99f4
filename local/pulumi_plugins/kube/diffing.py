"""What changed between two sets of inputs, path by path."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from local.pulumi_plugins.kube.objects import Kind, Object, dig
from local.pulumi_plugins.kube.replacing import Mutability, Path, forces, forcing_paths
from local.pulumi_plugins.values import UNKNOWN

_QUOTED = frozenset('."[]')


class Change(enum.Enum):
    """What happens to one property."""

    ADD = enum.auto()
    UPDATE = enum.auto()
    DELETE = enum.auto()


@dataclass(frozen=True, slots=True)
class Difference:
    """One changed property. `replaces`: it cannot be changed in place."""

    path: Path
    change: Change
    replaces: bool

    @property
    def name(self) -> str:
        """The path in Pulumi's notation: spec.containers[0].env, metadata.annotations["a.b/c"]."""
        return property_path(self.path)


def property_path(path: Path) -> str:
    """`path` in Pulumi's notation."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif _QUOTED.intersection(key):
            escaped = key.replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{key}" if text else key
    return text


def parse_property_path(text: str) -> Path:
    """The path that Pulumi's notation names. Raises ValueError for text that is none."""
    path: list[str | int] = []
    rest = text
    while rest:
        if rest.startswith('["'):
            end = rest.index('"]')
            path.append(rest[2:end].replace('\\"', '"'))
            rest = rest[end + 2 :]
        elif rest.startswith("["):
            end = rest.index("]")
            path.append(int(rest[1:end]))
            rest = rest[end + 1 :]
        else:
            rest = rest.removeprefix(".")
            end = min((index for index in (rest.find("."), rest.find("[")) if index >= 0), default=len(rest))
            path.append(rest[:end])
            rest = rest[end:]
    return tuple(path)


def differences(kind: Kind, old: Object, new: Object, mutability: Mutability) -> list[Difference]:
    """All that changed from the `old` inputs to the `new`, and whether each change replaces.

    Compares inputs with inputs. What others changed in the cluster enters through `refresh`,
    which folds it into the old inputs; what the API server fills in or writes in another way
    ("1000m" as "1") never shows.
    """
    patterns = forcing_paths(kind, old, new, mutability)
    return [Difference(path, change, forces(path, value, patterns)) for path, change, value in _walk((), old, new)]


def _walk(path: Path, old: Any, new: Any) -> Iterator[tuple[Path, Change, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            here = (*path, key)
            if key not in new:
                yield here, Change.DELETE, old[key]
            elif key not in old:
                yield here, Change.ADD, new[key]
            else:
                yield from _walk(here, old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            here = (*path, index)
            if index >= len(new):
                yield here, Change.DELETE, old[index]
            elif index >= len(old):
                yield here, Change.ADD, new[index]
            else:
                yield from _walk(here, old[index], new[index])
    elif new is UNKNOWN or old is UNKNOWN or old != new or isinstance(old, bool) != isinstance(new, bool):
        yield path, Change.UPDATE, new if isinstance(new, dict) else old


def merged_ignoring(new: Object, live: Object, ignored: list[str], manager: str) -> Object:
    """`new` for an apply that must leave the `ignored` paths as they are in the cluster.

    A path that someone else manages is left out; one that we manage keeps its live value,
    for leaving it out would delete it.
    """
    body: Object = _copy(new)
    for text in ignored:
        path = parse_property_path(text)
        ours, theirs = _managers(live, path, manager)
        if theirs and not ours:
            _remove(body, path)
        elif (value := dig(live, *path)) is not None:
            _set(body, path, _copy(value))
    return body


def _managers(live: Object, path: Path, manager: str) -> tuple[bool, bool]:
    """(whether `manager` owns something at `path`, whether another does)."""
    ours = theirs = False
    for entry in live.get("metadata", {}).get("managedFields", []):
        fields = entry.get("fieldsV1", {})
        for key in path:
            if not isinstance(key, str):
                break  # list items are keyed by value there: what owns the list decides
            fields = fields.get(f"f:{key}") if isinstance(fields, dict) else None
        if fields is not None:
            if entry.get("manager") == manager:
                ours = True
            else:
                theirs = True
    return ours, theirs


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _remove(obj: Object, path: Path) -> None:
    parent = dig(obj, *path[:-1])
    if isinstance(parent, dict):
        parent.pop(path[-1], None)


def _set(obj: Object, path: Path, value: Any) -> None:
    here: Any = obj
    for key in path[:-1]:
        here = here.setdefault(key, {}) if isinstance(here, dict) else dig(here, key)
    last = path[-1]
    missing = isinstance(here, list) and not (isinstance(last, int) and last < len(here))
    if here is not None and not missing:
        here[last] = value
