"""What is asked of all rows of a sweep, as arrays: a million of them are looked at in a second, and made in twenty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """By row, of some parts: which part, and which place in it. `values`: the figure that is ranked by, NaN where there
    is none; `parameters`: those that were asked for, NaN where a row has none. `trained`, `tested`: whether it is of
    that phase of a walk-forward."""

    parts: NDArray[np.int64]
    places: NDArray[np.int64]
    numbers: NDArray[np.int64]
    values: Floats
    trained: NDArray[np.bool_]
    tested: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    parameters: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.numbers)
