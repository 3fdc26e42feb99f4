"""Where what backtests load keeps caches of its own: beside its sources, or at home, both read-only in a pod, unless
these variables name a folder. Compiled code is unpickled when it is loaded: who may have written it must be trusted."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

FOLDERS: Mapping[str, str] = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}
"""By variable, the name of its folder."""


def shared(whose: str = "") -> dict[str, str]:
    """Folders of this user for all processes of one kind, `whose`; by variable."""
    named = "-".join(part for part in ("crossover", str(os.getuid()), whose) if part)
    return {variable: str(Path(tempfile.gettempdir()) / f"{named}-{folder}") for variable, folder in FOLDERS.items()}
