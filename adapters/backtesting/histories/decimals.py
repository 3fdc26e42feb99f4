"""Doubles as exact decimals, and back: what a catalog keeps of a price.

A catalog holds integers: a price times 10^16. The decimal that is meant is the shortest that reads as the same double.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.backtesting.bars import Floats

PLACES = 16
"""Of a catalog's integers, in builds of Nautilus with high precision."""
_EXACT = 1 << 53
"""Integers below it are doubles, and so is their quotient by a power of ten up to 10^22, rounded once."""


def places_of(values: Floats) -> NDArray[np.int64]:
    """How many decimals each of `values` has; may be more than PLACES. They must be finite."""
    made = np.full(len(values), -1, dtype=np.int64)
    left = np.arange(len(values))
    for places in range(PLACES + 1):
        scaled = np.rint(values[left] * 10.0**places)
        exact = (scaled / 10.0**places == values[left]) & (np.abs(scaled) < _EXACT)
        made[left[exact]] = places
        left = left[~exact]
        if not len(left):
            return made
    for row in left:  # of more digits than a double counts by: few, as a rule none
        exponent = Decimal(repr(float(values[row]))).normalize().as_tuple().exponent
        made[row] = max(0, -int(exponent))
    return made


def raw_of(values: Floats, places: int) -> list[int]:
    """Each of `values` times 10^PLACES, exactly; none may have more than `places` decimals, of at most PLACES."""
    scaled = np.rint(values * 10.0**places)
    factor = 10 ** (PLACES - places)
    if np.all((scaled / 10.0**places == values) & (np.abs(scaled) < _EXACT)):
        return [number * factor for number in scaled.astype(np.int64).tolist()]
    return [int(Decimal(repr(value)).scaleb(PLACES)) for value in values.tolist()]


def doubles_of(raw: bytes | memoryview, places: int) -> Floats:
    """The values of 16-byte integers, the lowest byte first, that were made with `places` decimals. Raises ValueError
    where one is negative, or has more decimals than that."""
    halves: NDArray[np.uint64] = np.frombuffer(raw, dtype="<u8").reshape(-1, 2)
    low, high = halves[:, 0], halves[:, 1]
    if np.any(high >> np.uint64(63)):
        raise ValueError("a value is negative")
    limbs: list[Any] = [part for half in (high, low) for part in (half >> np.uint64(32), half & np.uint64(0xFFFFFFFF))]
    for exponent in _steps(PLACES - places):
        limbs = _divided(limbs, 10**exponent)
    small = (limbs[0] == 0) & (limbs[1] == 0) & (limbs[2] < (_EXACT >> 32))
    numbers = ((limbs[2] << np.uint64(32)) | limbs[3]).astype(np.float64)
    values: Floats = numbers / 10.0**places
    for row in np.flatnonzero(~small):  # exact in Python's integers, rounded once
        whole = sum(int(limb[row]) << shift for limb, shift in zip(limbs, (96, 64, 32, 0), strict=True))
        values[row] = whole / 10**places
    return values


def _steps(exponent: int) -> list[int]:
    """`exponent` in parts by which one limb and a remainder stay below 2^63."""
    return [min(9, exponent - done) for done in range(0, exponent, 9)]


def _divided(limbs: list[Any], divisor: int) -> list[Any]:
    """Long division of 32 bits at a time, the highest first. Raises ValueError where something is left."""
    made, left = [], np.zeros_like(limbs[0])
    for limb in limbs:
        current = (left << np.uint64(32)) | limb
        quotient = current // np.uint64(divisor)
        left = current - quotient * np.uint64(divisor)
        made.append(quotient)
    if np.any(left):
        raise ValueError("a value has more decimals than its file says")
    return made
