"""What the numbers of tables in a stream mean, and how each is written at the target."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.postgres import applying
from adapters.postgres.applying import Shape
from adapters.postgres.bookkeeping import SCHEMA
from adapters.postgres.catalog import Table
from adapters.postgres.errors import Drift, Malformed
from adapters.postgres.pgoutput import Change, Relation, Truncate
from adapters.postgres.target import Target


class Descriptions:
    """The tables that a stream described. Owned by one thread."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._relations: dict[int, Relation] = {}
        self._shapes: dict[int, Shape] = {}
        self._tables: dict[str, Mapping[str, tuple[Table, Mapping[str, str]]]] = {}

    @property
    def relations(self) -> Mapping[int, Relation]:
        """All of them, by number."""
        return self._relations

    def learn(self, relation: Relation) -> None:
        """Take the newest description of a table."""
        self._relations[relation.id] = relation
        self._shapes.pop(relation.id, None)

    def relation(self, oid: int) -> Relation:
        """Which table it is. Raises Malformed where it was not described."""
        return described(oid, self._relations)

    def shape(self, oid: int) -> Shape:
        """How it is written. Raises Drift where the target has no such table."""
        found = self._shapes.get(oid)
        if found is None:
            relation = self.relation(oid)
            try:
                found = self._matched(relation)
            except Drift:
                # What is known of the target is older: it may have been altered since, as it should be.
                self._tables.pop(relation.schema, None)
                found = self._matched(relation)
            self._shapes[oid] = found
        return found

    def _matched(self, relation: Relation) -> Shape:
        if relation.schema not in self._tables:
            self._tables[relation.schema] = self._target.tables(relation.schema)
        found = self._tables[relation.schema].get(relation.name)
        if found is None:
            raise Drift(f"{relation}: there is no such table at the target")
        return applying.shape_of(relation, *found, hidden=self._target.masks.hidden(found[0]))


def described(oid: int, relations: Mapping[int, Relation]) -> Relation:
    """Which table `oid` is. Raises Malformed where it was not described."""
    found = relations.get(oid)
    if found is None:
        raise Malformed(f"a change of the table {oid}, which was not described")
    return found


def tables_of(change: Change) -> tuple[int, ...]:
    """The numbers of the tables that `change` is about."""
    return change.relations if isinstance(change, Truncate) else (change.relation,)


def bookkeeping_table(change: Change, relations: Mapping[int, Relation]) -> str:
    """Which of our tables `change` is about (of several the first); nothing where it is content."""
    changed = [described(oid, relations) for oid in tables_of(change)]
    ours = all(relation.schema == SCHEMA for relation in changed)
    return changed[0].name if ours and changed else ""
