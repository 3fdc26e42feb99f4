"""What the documents are made of: facts, in an order of their own, so that the same stack gives the same pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.audit import plain
from contracts.stages import Component


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one component stands. Texts, for what is not known is said."""

    component: Component
    wanted: str
    active: str
    serves: str
    deployed: str
    epoch: str


@dataclass(frozen=True, slots=True, order=True)
class Container:
    """One container of a workload. Resources as Kubernetes has them; empty where none are stated."""

    name: str
    image: str
    requests: str = ""
    limits: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """What runs: a Deployment, a StatefulSet or a CronJob. `runs`: its replicas, or its schedule."""

    namespace: str
    kind: str
    name: str
    runs: str
    containers: tuple[Container, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A Service. `ports`: by name."""

    namespace: str
    name: str
    ports: tuple[tuple[str, int], ...]
    headless: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Volume:
    """A claim, and what it asked for."""

    namespace: str
    name: str
    size: str
    storage_class: str


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """A key of config whose value is not its default."""

    key: str
    value: str
    default: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of a stack that the documents tell. `gaps`: what could not be asked, each with why."""

    stack: str
    namespace: str
    cluster_domain: str
    environment: str
    standings: tuple[Standing, ...]
    workloads: tuple[Workload, ...] = ()
    addresses: tuple[Address, ...] = ()
    volumes: tuple[Volume, ...] = ()
    settings: tuple[Setting, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    gaps: tuple[str, ...] = ()


def differing(config: Mapping[str, Any], defaults: Mapping[str, Any], untold: frozenset[str]) -> tuple[Setting, ...]:
    """What `config` sets to other than its default, by dotted key; keys of `untold` at the top are left out. What is
    secret, or looks like it, is masked."""
    known = dict(_flat(defaults))
    told = plain({key: value for key, value in config.items() if key not in untold})
    found = [
        Setting(key, str(value), str(known[key]) if key in known else "-")
        for key, value in _flat(told) if known.get(key) != value or key not in known
    ]  # fmt: skip
    return tuple(sorted(found))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key in value:
            yield from _flat(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        yield path, ", ".join(map(str, value))
    elif value is not None:
        # Config has words where settings have numbers and truths.
        yield path, str(value).lower() if isinstance(value, bool) else f"{value:g}" if _number(value) else str(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float)
