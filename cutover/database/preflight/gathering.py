"""Asks both servers for all that preflight decides over. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.postgres import asking
from adapters.postgres.driver import Address
from adapters.postgres.errors import PostgresError
from adapters.postgres.errors import Refused as NotLetIn
from adapters.postgres.facts import Fact, SideFacts, Unknown
from cutover.database.preflight.situation import Refused


@dataclass(frozen=True, slots=True)
class End:
    """A side by its backend's name, and where its server itself is: never the pooler."""

    name: str
    address: Address


def gather(source: End, target: End | None, schemas: Sequence[str] | None) -> dict[str, Fact[SideFacts]]:
    """The facts of both sides about `schemas`; None: those that the source would move by default."""
    facts = {source.name: _asked(source.address, schemas)}
    if target is not None:
        here = facts[source.name]
        moving: Sequence[str] = schemas or ()
        if not isinstance(here, Unknown) and not isinstance(here.contents, Unknown):
            moving = here.contents.schemas
        facts[target.name] = _asked(target.address, moving)
    return facts


def _asked(address: Address, schemas: Sequence[str] | None) -> Fact[SideFacts]:
    try:
        return asking.ask(address, schemas)
    except NotLetIn as error:
        return Refused(str(error))
    except PostgresError as error:
        return Unknown(str(error))
