"""OCI archives: a tar file with an image's layers, config, manifest and index, as every runtime imports it.

Layers lie in it unpacked: the archive never travels, so packing it would cost time at both ends and win nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.images.definition import Config, Definition
from local.images.layer import Layer, epoch

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Document:
    """Some JSON of an image, addressed by its content."""

    kind: str
    content: bytes

    @property
    def digest(self) -> str:
        """sha256:... of the content."""
        return "sha256:" + hashlib.sha256(self.content).hexdigest()

    @property
    def descriptor(self) -> dict[str, Any]:
        """How others refer to it."""
        return {"mediaType": self.kind, "digest": self.digest, "size": len(self.content)}


@dataclass(frozen=True)
class Image:
    """The documents of an image, and the layers that they speak of."""

    reference: str
    config: Document
    manifest: Document
    layers: tuple[Layer, ...]


def describe(definition: Definition, config: Config, layers: list[Layer]) -> Image:
    """The image of these layers. Pure: the same input, the same bytes."""
    image = _document(_CONFIG, _image_config(definition, config, layers))
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": image.descriptor,
        "layers": [{"mediaType": _LAYER, "digest": one.diff_id, "size": one.size} for one in layers],
    }
    return Image(definition.reference, image, _document(_MANIFEST, manifest), tuple(layers))


def write(image: Image, destination: Path) -> None:
    """Write the archive, whole or not at all: an older one is taken out of its name while it is changed."""
    # Two readers of one name: containerd takes the whole reference, the OCI layout's own key is the tag alone.
    names = {
        "io.containerd.image.name": image.reference,
        "org.opencontainers.image.ref.name": image.reference.rpartition(":")[2],
    }
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [image.manifest.descriptor | {"annotations": names}]}
    # What changes least comes first: a new image of old layers writes the end of the file only.
    layers = list({one.diff_id: one for one in image.layers}.values())
    partial = destination.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    if destination.is_file():
        destination.rename(partial)
    kept, end = _same_beginning(partial, [_blob(one.diff_id) for one in layers])
    with partial.open("r+b" if end else "wb") as file:
        file.truncate(end)
        file.seek(end)
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for layer in layers[kept:]:
                with layer.path.open("rb") as content:
                    tar.addfile(_info(_blob(layer.diff_id), layer.size), content)
            for document in (image.config, image.manifest):
                _add(tar, _blob(document.digest), document.content)
            _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
            _add(tar, "index.json", _document(_INDEX, index).content)
    partial.replace(destination)


def _same_beginning(archive: Path, wanted: list[str]) -> tuple[int, int]:
    """How many of the wanted blobs an archive begins with, in that order, and where the last of them ends."""
    count = end = 0
    try:
        with tarfile.open(archive) as tar:
            for member, name in zip(tar, wanted, strict=False):
                if member.name != name:
                    break
                count, end = count + 1, member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    except (OSError, tarfile.TarError):
        return 0, 0
    return count, end


def holds(archive: Path, image: Image) -> bool:
    """Whether an archive is there already and holds this very image."""
    try:
        with tarfile.open(archive) as tar:
            index = tar.extractfile("index.json")
            return index is not None and json.load(index)["manifests"][0]["digest"] == image.manifest.digest
    except (OSError, tarfile.TarError, KeyError, IndexError, ValueError):
        return False


def _image_config(definition: Definition, config: Config, layers: list[Layer]) -> dict[str, Any]:
    created = datetime.fromtimestamp(epoch(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    process: dict[str, Any] = {
        "User": config.user,
        "Env": [f"{key}={value}" for key, value in sorted(config.env.items())],
        "WorkingDir": config.workdir,
        "StopSignal": config.stop_signal,
        "Labels": {
            "org.opencontainers.image.title": definition.name,
            "org.opencontainers.image.description": definition.summary,
        },
    }
    if config.entrypoint:
        process["Entrypoint"] = list(config.entrypoint)
    if config.cmd:
        process["Cmd"] = list(config.cmd)
    if config.ports:
        process["ExposedPorts"] = {f"{port}/tcp": {} for port in config.ports}
    return {
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": process,
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        "history": [{"created": created, "created_by": "crossover local.images"} for _ in layers],
    }


def _document(kind: str, content: dict[str, Any]) -> Document:
    return Document(kind, json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, epoch()
    return info


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_info(name, len(content)), io.BytesIO(content))
