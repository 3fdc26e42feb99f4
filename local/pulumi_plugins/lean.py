"""Imports Pulumi's protocol stubs without the rest of the SDK, which takes half a second."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path


def import_protocol_only() -> None:
    """Makes `pulumi.runtime.proto` importable without running `pulumi/__init__.py`.

    For plugin processes alone, which need the generated stubs and nothing else. Does
    nothing where the SDK has been imported already.
    """
    if "pulumi" in sys.modules:
        return
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the Pulumi SDK is not installed for {sys.executable}: pip install pulumi")
    folder = Path(spec.origin).parent
    for name, path in (("pulumi", folder), ("pulumi.runtime", folder / "runtime")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
