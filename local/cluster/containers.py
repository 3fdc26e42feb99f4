"""Images of the running cluster: what it holds, importing what changed, dropping what is unused."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.cluster.processes import Record
from local.cluster.settings import RUNTIME_SOCKET

JsonObject = dict[str, Any]
REFERENCE_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
"""Where an OCI archive's index says what the image is called; the first that is there counts."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An image in an OCI archive: its reference, and the digest that the index gives it."""

    reference: str
    digest: str
    file: Path


def read_archive(file: Path) -> tuple[Archive, ...]:
    """The images in an OCI archive.

    Raises ValueError where it is no OCI archive or names no image.
    """
    try:
        with tarfile.open(file) as archive:
            member = archive.extractfile("index.json")
            index = json.load(member) if member is not None else {}
    except (tarfile.TarError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is not an OCI archive, so it cannot be imported: {error}") from error
    found = []
    for manifest in index.get("manifests", []):
        annotations = manifest.get("annotations") or {}
        names = [annotations[key] for key in REFERENCE_ANNOTATIONS if key in annotations]
        if names:
            found.append(Archive(names[0], manifest["digest"], file))
    if not found:
        raise ValueError(f"{file} names no image: its index.json needs the annotation {REFERENCE_ANNOTATIONS[0]}")
    return tuple(found)


def parse_image_list(text: str) -> dict[str, str]:
    """Reference -> digest, from `ctr images ls`."""
    found: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        digests = [field for field in fields[1:] if field.startswith("sha256:")]
        if digests:
            found[fields[0]] = digests[0]
    return found


def to_import(archives: Iterable[Archive], present: Mapping[str, str]) -> list[Archive]:
    """Those of `archives` that the cluster lacks, or holds with other content."""
    return [archive for archive in archives if present.get(archive.reference) != archive.digest]


def to_remove(present: Mapping[str, str]) -> list[str]:
    """References that only repeat content which no named image has any more.

    The runtime files each image under `sha256:...` too, and those names stay when the image's own
    name moves on to new content.
    """
    named = {digest for reference, digest in present.items() if not reference.startswith("sha256:")}
    return [name for name, digest in present.items() if name.startswith("sha256:") and digest not in named]


def pods_to_restart(pods: Iterable[JsonObject], changed: frozenset[str]) -> list[tuple[str, str]]:
    """(namespace, name) of pods that run a changed image and come back by themselves.

    Pods of Jobs are left: a Job's run belongs to the content it started with.
    """
    found = []
    for pod in pods:
        metadata, spec = pod["metadata"], pod["spec"]
        containers = [*spec.get("containers", []), *(spec.get("initContainers") or [])]
        owners = {owner["kind"] for owner in metadata.get("ownerReferences") or []}
        if owners & {"ReplicaSet", "StatefulSet", "DaemonSet"} and any(c["image"] in changed for c in containers):
            found.append((metadata["namespace"], metadata["name"]))
    return found


class ImageStore:
    """The image store of a running cluster, through its containerd socket."""

    def __init__(self, record: Record) -> None:
        # The socket lies in the cluster's private /run; /proc opens that without entering it.
        self._socket = str(record.view) + str(RUNTIME_SOCKET)

    def list(self) -> dict[str, str]:
        """Reference -> digest of each image there."""
        return parse_image_list(self._ctr("images", "ls"))

    def load(self, file: Path) -> None:
        """Import every image of an OCI archive."""
        self._ctr("images", "import", str(file))

    def prune(self) -> None:
        """Drop what no named image has any more; content in use stays until its container ends."""
        for name in to_remove(self.list()):
            self._ctr("images", "rm", name)

    def _ctr(self, *arguments: str) -> str:
        result = subprocess.run(
            ["ctr", "--address", self._socket, "--namespace", "k8s.io", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(f"ctr {' '.join(arguments)} failed: {result.stderr.strip()}")
        return result.stdout
