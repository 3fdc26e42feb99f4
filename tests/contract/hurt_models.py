"""Copies of a model's GGUF file that are broken in one way each, as files in the wild are.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod

import numpy as np

_TEMPLATE_KEY, _ALIGNMENT_KEY = "tokenizer.chat_template", "general.alignment"
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a metadata value, by its type."""
_Q4_1, _BLOCK, _BLOCK_BYTES = 3, 32, 20
"""32 weights: scale and minimum as half floats, then two weights a byte."""
_OTHER_TEMPLATE = b"{% for message in messages %}[INST] {{ message['content'] }} [/INST]{% endfor %}"


@dataclass(frozen=True, slots=True)
class _Parsed:
    template: slice
    quantised: tuple[slice, ...]


def with_wrong_template(model: bytes) -> bytes:
    """The model, its chat template replaced by another family's, as where a converter guessed it."""
    place, hurt = _parsed(model).template, bytearray(model)
    room = place.stop - place.start - len(_OTHER_TEMPLATE) - len("{##}")
    assert room >= 0
    hurt[place] = _OTHER_TEMPLATE + b"{#" + b" " * room + b"#}"
    return bytes(hurt)


def with_one_bit(model: bytes) -> bytes:
    """The model, each 4-bit weight rounded to one bit: the middle of its block's lower or upper half."""
    hurt = bytearray(model)
    weights = np.frombuffer(hurt, dtype=np.uint8)
    for place in _parsed(model).quantised:
        packed = weights[place].reshape(-1, _BLOCK_BYTES)[:, 4:]
        packed[:] = np.where(packed & 8, 11, 4) | np.where(packed & 128, 11 << 4, 4 << 4)
    return bytes(hurt)


def _parsed(model: bytes) -> _Parsed:
    magic, version, tensors, keys = struct.unpack_from("<4sIQQ", model)
    assert (magic, version) == (b"GGUF", 3)
    at, alignment, template = 24, 32, slice(0)
    for _ in range(keys):
        key, at = _text(model, at)
        (kind,), at = struct.unpack_from("<I", model, at), at + 4
        if key == _ALIGNMENT_KEY:
            (alignment,) = struct.unpack_from("<I", model, at)
        end = _skipped(model, kind, at)
        if key == _TEMPLATE_KEY:
            template = slice(at + 8, end)
        at = end
    found = []
    for _ in range(tensors):
        _, at = _text(model, at)
        (count,) = struct.unpack_from("<I", model, at)
        *shape, kind, offset = struct.unpack_from(f"<{count}QIQ", model, at + 4)
        at += 4 + 8 * count + 12
        if kind == _Q4_1:
            found.append((offset, prod(shape) // _BLOCK * _BLOCK_BYTES))
    data = -(-at // alignment) * alignment
    assert template.stop and found
    return _Parsed(template, tuple(slice(data + offset, data + offset + size) for offset, size in found))


def _text(model: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", model, at)
    return model[at + 8 : at + 8 + length].decode(), at + 8 + length


def _skipped(model: bytes, kind: int, at: int) -> int:
    """Where the value of that type ends which begins at `at`."""
    if kind == _STRING:
        (length,) = struct.unpack_from("<Q", model, at)
        return at + 8 + int(length)
    if kind == _ARRAY:
        inner, count = struct.unpack_from("<IQ", model, at)
        at += 12
        for _ in range(count):
            at = _skipped(model, inner, at)
        return at
    return at + _SIZES[kind]
