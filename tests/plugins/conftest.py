"""Fixtures: the CLI with the stand-ins, a small control plane, and a project on them for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.pulumi_plugins.install import default_python, install
from local.setup import pulumi_cli, toolchain
from local.setup.versions import ETCD, KUBERNETES
from tests.plugins.cli import Project, Toolchain
from tests.plugins.control_plane import ControlPlane
from tests.plugins.kubelet import Kubelet

ROOT = Path(__file__).parents[2]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def pulumi() -> Path:
    """The CLI that set-up would use."""
    return pulumi_cli.find(ROOT / ".crossover" / "bin").program


@pytest.fixture(scope="session")
def cli(pulumi: Path, tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    """The CLI with the stand-ins, even where the official plugins can be had."""
    folder = tmp_path_factory.mktemp("toolchain")
    installed = install(pulumi, folder / "home", folder / "bin", default_python(), official=False)
    assert set(installed.origins.values()) == {"stand-in"}
    return Toolchain(folder / "bin", folder / "home")


@pytest.fixture
def project(cli: Toolchain, tmp_path: Path) -> Project:
    """A project that uses no cluster."""
    return Project(tmp_path, cli)


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A control plane for all tests."""
    running = ControlPlane(toolchain.ensure([ETCD, KUBERNETES]))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """A namespace of the test's own. It goes with the control plane."""
    name = f"test-{next(_numbers)}"
    plane.make_namespace(name)
    return name


@pytest.fixture
def kubelet(plane: ControlPlane, namespace: str) -> Kubelet:
    """The node that the control plane lacks, for the test's namespace."""
    return Kubelet(plane, namespace)


@pytest.fixture
def kube_project(cli: Toolchain, tmp_path: Path, plane: ControlPlane, namespace: str) -> Project:
    """A project whose objects go to the test's namespace."""
    extra = {"KUBECONFIG": str(plane.kubeconfig)}
    made = Project(tmp_path, cli, extra)
    made.set("kubernetes:namespace", namespace)
    return made
