"""Fixtures: the CLI with the stand-ins, a small control plane, and a project on them for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.setup import toolchain
from local.setup.versions import ETCD, KUBERNETES
from tests.plugins.cli import Project, Toolchain, install_toolchain
from tests.plugins.control_plane import ControlPlane
from tests.plugins.kubelet import Kubelet

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    """The CLI with the stand-ins."""
    return install_toolchain(tmp_path_factory.mktemp("toolchain"))


@pytest.fixture
def project(cli: Toolchain, tmp_path: Path) -> Iterator[Project]:
    """A project that uses no cluster."""
    made = Project(tmp_path, cli)
    yield made
    made.close()


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
def kube_project(cli: Toolchain, tmp_path: Path, plane: ControlPlane, namespace: str) -> Iterator[Project]:
    """A project whose objects go to the test's namespace."""
    extra = {"KUBECONFIG": str(plane.kubeconfig)}
    made = Project(tmp_path, cli, extra)
    made.set("kubernetes:namespace", namespace)
    yield made
    made.close()
