"""What pg_dump wrote, as items: taken apart, sifted, and put in the order in which a filled database takes them. Pure.

pg_dump puts a header of three comments before each item. They are looked for outside of all quotes only: the body of a
function may hold anything. It has to quote all identifiers, so that names can be told from words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

_HEADER = re.compile(r"-- Name: (?P<name>.*); Type: (?P<kind>[A-Z ]+); Schema: (?P<schema>.*); Owner: .*")
_TOKEN = re.compile(
    r"""(?P<meta>(?<![^\n])\\(?:un)?restrict[^\n]*)
      | (?P<comment>--[^\n]*)
      | (?P<block>/\*)
      | [eE]'(?:[^'\\]|\\.|'')*'
      | '(?:[^']|'')*'
      | "(?:[^"]|"")*"
      | (?P<dollar>\$(?:[A-Za-z_\u0080-\U0010ffff][\w]*)?\$)
      | [\w\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*
      | (?P<end>;)
      | [^\w\\\-/'"$;]+
      | .""",
    re.VERBOSE | re.DOTALL,
)
_BLOCK = re.compile(r"/\*|\*/")
_NAME = r'"(?:[^"]|"")+"'
_QUALIFIED = re.compile(rf"{_NAME}\.{_NAME}")
_GRANTEE = re.compile(rf"\b(?P<way>TO|FROM) (?P<role>{_NAME})(?P<rest> WITH GRANT OPTION)?$")
_FOR_ROLE = re.compile(rf"^(?P<head>ALTER DEFAULT PRIVILEGES FOR ROLE )(?P<role>{_NAME})")
_POLICY = re.compile(
    rf"^(?P<head>CREATE POLICY {_NAME} ON {_NAME}\.{_NAME}(?: AS \w+)?(?: FOR \w+)? TO )"
    rf"(?P<roles>(?:{_NAME}|PUBLIC)(?:, (?:{_NAME}|PUBLIC))*)"
)
_NOT_MOVED = frozenset(
    {"DATABASE", "EVENT TRIGGER", "EXTENSION", "FOREIGN DATA WRAPPER", "FOREIGN TABLE", "PUBLICATION",
     "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "SECURITY LABEL", "SERVER", "SUBSCRIPTION", "USER MAPPING"}
)  # fmt: skip
"""They belong to the server that is left, or need a superuser there."""
_DEFINED = ("FUNCTION", "MATERIALIZED VIEW", "PROCEDURE", "VIEW")
"""In post-data only where they rest on a primary key (GROUP BY it)."""
_BUILT = ("INDEX", "CONSTRAINT")
_PARALLEL = (1, 3)
"""The waves of _BUILT and of the foreign keys."""
_ATTACHED = ("INDEX ATTACH", "CHECK CONSTRAINT", "STATISTICS")


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a dump. `kind` as pg_dump has it; `sql` may hold several statements, which belong together."""

    kind: str
    schema: str
    name: str
    sql: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.schema == "-" else f"{self.kind} {self.schema}.{self.name}"

    @property
    def touches(self) -> frozenset[str]:
        """The relations that it locks, quoted."""
        found = _QUALIFIED.findall(self.sql)
        return frozenset(found if self.kind == "FK CONSTRAINT" else found[:1])

    def excludes(self, other: Item) -> bool:
        """Whether one would only wait for the other, or both for each other: all lock their relations for
        themselves, but plain indexes of one table are built together."""
        return not (self._shares and other._shares) and not self.touches.isdisjoint(other.touches)

    @property
    def _shares(self) -> bool:
        return self.kind == "INDEX" and "ALTER TABLE" not in self.sql


@dataclass(frozen=True, slots=True)
class Roles:
    """Roles of the database that is filled: which `exist` there, and what those of the source are called there. The
    source's owner becomes the application's role, for example."""

    exist: frozenset[str]
    renamed: Mapping[str, str] = field(default_factory=dict)

    def there(self, quoted: str) -> str | None:
        """The role, quoted, by which `quoted` goes there; None where there is none."""
        name = quoted[1:-1].replace('""', '"')
        name = self.renamed.get(name, name)
        return '"' + name.replace('"', '""') + '"' if name in self.exist else None


@dataclass(frozen=True, slots=True)
class Sifted:
    """What can be brought to the other server, and by name what not, and why."""

    items: tuple[Item, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waves:
    """Post-data: `keys` (primary keys and replica identities) are what the stream needs; then those of `rest`, wave by
    wave. A wave that is `True` may be built in parallel."""

    keys: tuple[Item, ...]
    rest: tuple[tuple[bool, tuple[Item, ...]], ...]


def items(text: str) -> tuple[Item, ...]:
    """The items of a plain dump, in its order. What comes before the first is settings of the session: left out."""
    found: list[Item] = []
    pieces: list[str] = []
    begin = 0
    for kind, start, end in _marks(text):
        if kind == "end":
            continue
        pieces.append(text[begin:start])
        begin = end
        header = _HEADER.fullmatch(text, start, end) if kind == "comment" else None
        if header is not None:
            _close(found, pieces)
            found.append(Item(header["kind"], header["schema"], header["name"], ""))
    pieces.append(text[begin:])
    _close(found, pieces)
    return tuple(item for item in found if item.sql)


def _close(found: list[Item], pieces: list[str]) -> None:
    if found:
        found[-1] = replace(found[-1], sql="".join(pieces).strip())
    pieces.clear()


def statements(text: str) -> tuple[str, ...]:
    """The statements of `text`, without their semicolons. Not for functions with a body in plain SQL."""
    found: list[str] = []
    begin = 0
    for kind, start, end in _marks(text):
        if kind == "end":
            found.append(text[begin:start].strip())
            begin = end
    return tuple(statement for statement in (*found, text[begin:].strip()) if statement)


def _marks(text: str) -> Iterator[tuple[str, int, int]]:
    """Comments, psql's \\restrict, and semicolons outside of quotes: what, from where to where."""
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise AssertionError("unreachable: the last choice takes any character")
        at = token.end()
        match token.lastgroup:
            case "dollar":
                closing = text.find(token[0], at)
                at = len(text) if closing < 0 else closing + len(token[0])
            case "block":
                at = _block_end(text, at)
                yield "block", token.start(), at
            case None:
                pass
            case kind:
                yield kind, token.start(), at


def _block_end(text: str, at: int) -> int:
    depth = 1
    while depth:
        found = _BLOCK.search(text, at)
        if found is None:
            return len(text)
        depth += 1 if found[0] == "/*" else -1
        at = found.end()
    return at


def sift(found: Sequence[Item], roles: Roles) -> Sifted:
    """`found` without what does not move, its grants and policies for the roles that are there."""
    kept: list[Item] = []
    left_out: list[str] = []
    for item in found:
        if item.kind in _NOT_MOVED or (item.kind == "COMMENT" and item.name.startswith(tuple(_comments()))):
            left_out.append(f"{item}: it is not moved")
        elif item.kind in {"ACL", "DEFAULT ACL"}:
            granted, missing = _grants(item, roles)
            left_out += missing
            if granted:
                kept.append(replace(item, sql=granted))
        elif item.kind == "POLICY":
            policy, missing = _policy(item, roles)
            left_out += missing
            if policy:
                kept.append(replace(item, sql=policy))
        else:
            kept.append(item)
    return Sifted(tuple(kept), tuple(left_out))


def _comments() -> Iterator[str]:
    return (f"{kind} " for kind in _NOT_MOVED)


def _grants(item: Item, roles: Roles) -> tuple[str, list[str]]:
    """The statements of `item` for roles that are there. Those that name another grantor are the owner's own there:
    what pg_dump says around them (SET SESSION AUTHORIZATION) is dropped."""
    kept: list[str] = []
    missing: list[str] = []
    for statement in statements(item.sql):
        if statement.startswith(("SET SESSION AUTHORIZATION", "RESET SESSION AUTHORIZATION")):
            continue
        renamed, unknown = statement, []
        for pattern in (_FOR_ROLE, _GRANTEE):
            match = pattern.search(renamed)
            if match is None:
                continue  # PUBLIC
            role = roles.there(match["role"])
            if role is None:
                unknown.append(match["role"])
            else:
                start, end = match.span("role")
                renamed = renamed[:start] + role + renamed[end:]
        if unknown:
            missing.append(f"{item}: {statement}: no role {', '.join(unknown)} there")
        else:
            kept.append(f"{renamed};")
    return "\n".join(kept), missing


def _policy(item: Item, roles: Roles) -> tuple[str, list[str]]:
    """A policy for those of its roles that are there; none where that is nobody."""
    match = _POLICY.match(item.sql)
    if match is None:
        return item.sql, []  # for everybody
    named = re.findall(rf"{_NAME}|PUBLIC", match["roles"])
    known = {role: role if role == "PUBLIC" else roles.there(role) for role in named}
    missing = [f"{item}: no role {role} there" for role, there in known.items() if there is None]
    there = [role for role in known.values() if role is not None]
    return (match["head"] + ", ".join(there) + item.sql[match.end() :] if there else ""), missing


def waves(after: Sequence[Item]) -> Waves:
    """Post-data in the order in which it is built: what is unique before what refers to it; triggers and policies
    last, so that they meet no row that was copied."""
    keys: list[Item] = []
    rest: tuple[list[Item], ...] = ([], [], [], [], [])
    for item in after:
        if _is_key(item):
            keys.append(item)
        else:
            rest[_wave(item)].append(item)
    return Waves(tuple(keys), tuple((number in _PARALLEL, tuple(wave)) for number, wave in enumerate(rest)))


def _wave(item: Item) -> int:
    if item.kind in _DEFINED or (item.kind == "RULE" and item.name.endswith(" _RETURN")):
        return 0
    if item.kind in _BUILT:
        return 1
    if item.kind in _ATTACHED:
        return 2
    return 3 if item.kind == "FK CONSTRAINT" else 4


def _is_key(item: Item) -> bool:
    if item.kind not in _BUILT:
        return False
    return re.search(rf"ADD CONSTRAINT {_NAME} PRIMARY KEY|REPLICA IDENTITY USING INDEX", item.sql) is not None


def takes(waiting: Sequence[Item], running: Sequence[Item]) -> Item | None:
    """The first of `waiting` that need not wait for one of `running`."""
    return next((item for item in waiting if not any(item.excludes(other) for other in running)), None)
