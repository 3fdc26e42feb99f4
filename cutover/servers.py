"""The two Postgres servers between which rows move, from the environment of who moves them."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.postgres.driver import Address
from contracts import names
from contracts.stages import Component, Side, backend_of
from cutover.errors import CouldNotCheck

_URLS = {Side.OLD: names.ENV_HOSTED_DATABASE_URL, Side.NEW: names.ENV_SELFHOSTED_DATABASE_URL}


def servers(env: Mapping[str, str]) -> dict[str, Address]:
    """By backend, where it is. Raises CouldNotCheck where `env` lacks one, InvalidAddress."""
    return {backend_of(Component.DATABASE, side): _address(env, variable) for side, variable in _URLS.items()}


def _address(env: Mapping[str, str], variable: str) -> Address:
    if not env.get(variable):
        raise CouldNotCheck(f"{variable} is not set, so a server has no address", "Run pulumi up: it sets it")
    return Address.parse(env[variable])
