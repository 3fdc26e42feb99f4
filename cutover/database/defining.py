"""Definitions of the side that serves, made at the other one. What is there already is passed."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.postgres import catalog, content_facts, schema
from adapters.postgres.driver import translated
from adapters.postgres.errors import Refused, StatementFailed
from cutover.context import StepFailed
from cutover.database.work import HOSTED, DatabaseWork

_BUILDING = schema.Building()


class Defining:
    """Dumps definitions once a run, and makes them in the order that rows and streams need."""

    def __init__(self, work: DatabaseWork) -> None:
        self._w = work
        self._c = work.context
        self._dumped: schema.Schema | None = None
        self._owner = ""

    def make(self, source: str, target: str) -> int:
        """What comes before the rows: extensions, types, tables without keys, views, functions; how many."""
        definitions = self._dump(source, target)
        for left in definitions.left_out:
            self._c.say(f"    left out: {left}")
        self._ensure_extensions(source, target)
        schema.make(self._w.servers[target], definitions.before, self._owner)
        return len(definitions.before)

    def keys(self, source: str, target: str) -> None:
        """Primary keys and replica identities."""
        definitions = self._dump(source, target)
        schema.build_keys(self._w.servers[target], definitions, self._owner, _BUILDING, self._c.stopped)

    def rest(self, source: str, target: str) -> None:
        """Indexes, constraints, triggers, policies, rights; and what the planner has to know."""
        definitions = self._dump(source, target)
        schema.build_rest(self._w.servers[target], definitions, self._owner, _BUILDING, self._c.stopped)
        schema.analyze(self._w.servers[target], self._w.tables(target))

    def refuse_other_columns(self, moved: Sequence[catalog.Table], target: str) -> None:
        """A copy that was begun goes on only where the tables are as they were; and what was there before is not
        changed."""
        there = {str(table): table.columns for table in self._w.tables(target)}
        wrong = [str(table) for table in moved if _shape(there.get(str(table), ())) != _shape(table.columns)]
        if not wrong:
            return
        fix = "Set crossover:database.stage to mvp and run pulumi up; then ask for it again: all is copied anew"
        if target == HOSTED:
            drop = "; ".join(f"DROP TABLE {table.qualified}" for table in moved if str(table) in wrong[:5])
            fix = f"At {target}: ALTER them to be so, or, where they hold nothing that is needed: {drop}"
        raise StepFailed(
            f"definitions changed since this copy was begun: {', '.join(wrong[:5])} is not so at {target}", fix
        )

    def _dump(self, source: str, target: str) -> schema.Schema:
        if self._dumped is None:
            owners = sorted({table.owner for table in self._w.tables(source)})
            self._owner = self._w.owner(target)
            there = self._w.at(target)
            with translated(there.address):
                roles = schema.roles_of(there.connection, self._owner, owners)
            self._dumped = schema.dump(self._w.servers[source], self._w.schemas(), roles)
        return self._dumped

    def _ensure_extensions(self, source: str, target: str) -> None:
        here, there = self._w.at(source), self._w.at(target)
        with translated(here.address):
            needed = {each.name for each in content_facts.extensions(here.connection, self._w.schemas()) if each.needed}
            wanted = [each for each in schema.extensions(here.connection) if each.name in needed]
        with translated(there.address):
            known = {each.name for each in schema.extensions(there.connection)}
        missing = [each for each in wanted if each.name not in known]
        try:
            schema.ensure_extensions(self._w.servers[target], missing, self._owner)
        except (Refused, StatementFailed) as error:
            commands = [
                f"CREATE EXTENSION {catalog.quoted(each.name)} SCHEMA {catalog.quoted(each.schema)}" for each in missing
            ]
            raise StepFailed(
                f"not made at {target}: {error}", f"Let its administrator run there: {'; '.join(commands)}"
            ) from error


def _shape(columns: Sequence[catalog.Column]) -> set[tuple[str, str]]:
    return {(column.name, column.type) for column in columns}
