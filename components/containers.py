"""Containers as stack config has them: image, pull policy and resources filled in. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.pods import Container, Manifest, Probes, http_probe
from components.settings import Settings
from components.sizes import resources
from contracts import names

WORKLOAD_IMAGE = "workload"
"""All Python code of the repository."""
BACKTESTING_IMAGE = "backtesting"
"""The same with the engines for backtests, which weigh three times as much."""


def container(
    settings: Settings,
    workload: str,
    image: str,
    *,
    command: Sequence[str] | None = None,
    args: Sequence[object] | None = None,
    env: Sequence[Manifest] = (),
    env_from: Sequence[Manifest] = (),
    ports: Mapping[str, int] | None = None,
    mounts: Mapping[str, tuple[str, bool]] | None = None,
    probes: Probes | None = None,
) -> Container:
    """The one container of `workload` (a key of components/sizes.py) from the image named `image`."""
    return Container(
        name=workload,
        image=settings.images.of(image),
        pull_policy=settings.images.pull_policy,
        resources=resources(settings.size, workload),
        command=command,
        args=args,
        env=env,
        env_from=env_from,
        ports=ports or {},
        mounts=mounts or {},
        probes=probes,
    )


def http_probes(start_seconds: int = 120) -> Probes:
    """The probes of our own services: /readyz keeps traffic away, /healthz asks for a restart."""
    return Probes(
        startup=http_probe("/healthz", period=2, failures=start_seconds // 2),
        readiness=http_probe("/readyz", period=3, failures=2),
        liveness=http_probe("/healthz", period=10, failures=6),
    )


def python_service(
    settings: Settings,
    name: str,
    module: str,
    *,
    env: Sequence[Manifest],
    env_from: Sequence[Manifest] = (),
    mounts: Mapping[str, tuple[str, bool]] | None = None,
    image: str = WORKLOAD_IMAGE,
) -> Container:
    """A service of ours: `python -m module`, HTTP on HTTP_PORT."""
    return container(
        settings,
        name,
        image,
        command=["python", "-m", module],
        env=[*env, *settings.traces.environment()],
        env_from=env_from,
        ports={"http": names.HTTP_PORT},
        mounts=mounts,
        probes=http_probes(),
    )
