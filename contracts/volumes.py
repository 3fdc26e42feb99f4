"""Sizes of volumes as config gives them, and as a Transition is told of them."""

from __future__ import annotations

from collections.abc import Mapping

_UNITS = {"Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def told_volumes(sizes: Mapping[str, str]) -> str:
    """The value of CROSSOVER_VOLUMES: `redis=10Gi,kafka=10Gi`."""
    return ",".join(f"{backend}={size}" for backend, size in sizes.items())


def volume_bytes(told: str) -> dict[str, int]:
    """The bytes of each backend's volume from what told_volumes made; none where `told` is empty.

    Raises ValueError where it is not of that form.
    """
    sizes = {}
    for part in filter(None, told.split(",")):
        backend, _, size = part.partition("=")
        number, unit = size[:-2], size[-2:]
        if not (number.isdigit() and unit in _UNITS):
            raise ValueError(
                f"the volume of {backend!r} is {size!r}: whether it has room could not be checked, so nothing was "
                "started. Write a number and Mi, Gi or Ti"
            )
        sizes[backend] = int(number) * _UNITS[unit]
    return sizes
