"""Asks both servers for all that preflight decides over. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from adapters.known import Fact, Unknown
from adapters.postgres import asking
from adapters.postgres.driver import Address
from adapters.postgres.errors import PostgresError
from adapters.postgres.errors import Refused as NotLetIn
from adapters.postgres.facts import SideFacts
from cutover.database.preflight.situation import Refused, known


@dataclass(frozen=True, slots=True)
class End:
    """A side by its backend's name, and where its server itself is: never the pooler."""

    name: str
    address: Address


def gather(source: End, target: End | None, schemas: Sequence[str] | None) -> dict[str, Fact[SideFacts]]:
    """The facts of both sides about `schemas`, at the same time; None: those that the source would move by default,
    which is asked first then."""
    if target is None:
        return {source.name: _asked(source.address, schemas)}
    if schemas is None:
        facts = {source.name: _asked(source.address, None)}
        here = facts[source.name]
        unknown = isinstance(here, Unknown) or isinstance(here.contents, Unknown)
        moving: Sequence[str] = () if unknown else known(known(here).contents).schemas
        return facts | {target.name: _asked(target.address, moving)}
    with ThreadPoolExecutor(2) as beside:
        asked = {end.name: beside.submit(_asked, end.address, schemas) for end in (source, target)}
        return {name: answer.result() for name, answer in asked.items()}


def _asked(address: Address, schemas: Sequence[str] | None) -> Fact[SideFacts]:
    try:
        return asking.ask(address, schemas)
    except NotLetIn as error:
        return Refused(str(error))
    except PostgresError as error:
        return Unknown(str(error))
