"""Which shared libraries the programs of an image need and the image lacks.

Packages are unpacked, not installed, so nobody resolves what they depend on: this does, from the programs themselves.
"""

from __future__ import annotations

import json
import struct
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from local.images.errors import ImageError
from local.images.layer import Layer

_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRINGS, _NAME = 1, 5, 14


def needed(content: bytes) -> tuple[list[str], str | None]:
    """What a 64-bit little-endian ELF file needs, and the name it goes by itself; nothing for other files."""
    if content[:6] != b"\x7fELF\x02\x01":
        return [], None
    offset, size, count = struct.unpack_from("<Q", content, 32)[0], *struct.unpack_from("<HH", content, 54)
    headers = [struct.unpack_from("<IIQQQQQQ", content, offset + index * size) for index in range(count)]
    dynamic = next((header for header in headers if header[0] == _DYNAMIC), None)
    if dynamic is None:
        return [], None
    entries = list(struct.iter_unpack("<qQ", content[dynamic[2] : dynamic[2] + dynamic[5] // 16 * 16]))
    address = next((value for tag, value in entries if tag == _STRINGS), 0)
    table = next(
        (
            header[2] + address - header[3]
            for header in headers
            if header[0] == _LOAD and 0 <= address - header[3] < header[5]
        ),
        None,
    )
    if table is None:
        return [], None

    def text(at: int) -> str:
        start = table + at
        return content[start : content.index(b"\0", start)].decode()

    names = [text(value) for tag, value in entries if tag == _NAME]
    return [text(value) for tag, value in entries if tag == _NEEDED], names[0] if names else None


@dataclass(frozen=True)
class Facts:
    """What a layer holds, by file and library name, and which files need which library."""

    held: frozenset[str]
    needed: dict[str, list[str]]


def facts(layer: Layer) -> Facts:
    """The facts of a layer; kept beside it, since reading a large one takes seconds."""
    record = layer.path.with_name("libraries.json")
    if record.is_file():
        stored = json.loads(record.read_text())
        return Facts(frozenset(stored["held"]), stored["needed"])
    held, wanted = set[str](), dict[str, list[str]]()
    with tarfile.open(layer.path) as tar:
        for member in tar:
            held.add(PurePosixPath(member.name).name)
            content = tar.extractfile(member) if _may_need(member) else None
            needs, name = needed(content.read()) if content is not None else ([], None)
            held |= {name} if name else set()
            for need in needs:
                wanted.setdefault(need, []).append(member.name)
    libraries = {name for name in held if ".so" in name}
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps({"held": sorted(libraries), "needed": wanted}))
    partial.replace(record)
    return Facts(frozenset(libraries), wanted)


def missing(layers: Iterable[Layer]) -> dict[str, list[str]]:
    """Library -> the files that need it, of those that no layer holds under any path."""
    known = [facts(layer) for layer in layers]
    held = {name for one in known for name in one.held}
    lacking: dict[str, list[str]] = {}
    for one in known:
        for name, users in one.needed.items():
            if name not in held:
                lacking.setdefault(name, []).extend(users)
    return lacking


def _may_need(member: tarfile.TarInfo) -> bool:
    """Programs and libraries, by their mode and name: reading all files would take minutes."""
    return member.isreg() and (bool(member.mode & 0o111) or ".so" in PurePosixPath(member.name).name)


def check(name: str, layers: Iterable[Layer]) -> None:
    """Raise ImageError where something is missing."""
    if lacking := missing(layers):
        listing = "; ".join(f"{library} (for {', '.join(users[:3])})" for library, users in lacking.items())
        raise ImageError(
            f"Image {name!r} lacks {listing}, so these programs would not start. Add the Debian packages with these "
            f"libraries to debian.packages of local/images/{name}/image.toml, or exclude the files."
        )
