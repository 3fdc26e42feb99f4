"""A dump taken apart, sifted and put in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.dumped import Item, Roles, items, sift, statements, takes, waves


def header(name: str, kind: str, schema: str = "app") -> str:
    return f"--\n-- Name: {name}; Type: {kind}; Schema: {schema}; Owner: -\n--\n\n"


PREAMBLE = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET statement_timeout = 0;\n\n"
END = "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"
FAKE = header("fake", "TABLE") + "CREATE TABLE fake ();"
NOBODY = Roles(frozenset())


def one(sql: str, kind: str = "FUNCTION", name: str = "f()") -> Item:
    (found,) = items(PREAMBLE + header(name, kind) + sql + "\n\n\n" + END)
    return found


@pytest.mark.parametrize(
    "body",
    [
        f"AS $$ begin\n{FAKE}\nend $$",
        f"AS $fn_1$ $$ {FAKE} $fn_$ $fn_1$",
        f"AS '{FAKE}'",
        f"AS E'\\'{FAKE}'",
        f"AS 'a''\n{FAKE}'",
        f'AS "b""\n{FAKE}"',
        f"a$$b AS '$$ {FAKE}'",
        "AS '\n\\restrict x\n'",
    ],
)
def test_a_header_in_quotes_is_none(body: str) -> None:
    assert one(f"CREATE FUNCTION f() {body};").sql == f"CREATE FUNCTION f() {body};"


def test_a_header_in_a_comment_is_none() -> None:
    assert one(f"CREATE FUNCTION f() /* /* nested */\n{FAKE} */;").sql == "CREATE FUNCTION f() ;"


def test_items_keep_their_statements_and_lose_comments_and_settings_of_psql() -> None:
    text = PREAMBLE + header("a", "TABLE") + "CREATE TABLE a ();\n\nALTER TABLE a REPLICA IDENTITY FULL;\n\n\n"
    text += "SET default_tablespace = '';\n\n" + header('S; Type: "x"', "INDEX") + "CREATE INDEX i ON a;\n\n\n" + END
    assert items(text) == (
        Item("TABLE", "app", "a", "CREATE TABLE a ();\n\nALTER TABLE a REPLICA IDENTITY FULL;\n\n\n"
             "SET default_tablespace = '';"),
        Item("INDEX", "app", 'S; Type: "x"', "CREATE INDEX i ON a;"),
    )  # fmt: skip
    assert items(PREAMBLE + END) == items("") == ()


@given(st.lists(st.text(alphabet="ab;'\"-\n $\\é", max_size=20), max_size=4))
def test_whatever_is_quoted_comes_out_whole(texts: list[str]) -> None:
    dump = PREAMBLE
    for number, text in enumerate(texts):
        literal, name = text.replace("'", "''"), text.replace('"', '""')
        dump += header(f"n{number}", "COMMENT") + f"COMMENT ON TABLE \"{name}\" IS '{literal}' || $q${text}$q$;\n\n"
    found = items(dump + END)
    assert [item.name for item in found] == [f"n{number}" for number in range(len(texts))]
    for item, text in zip(found, texts, strict=True):
        assert statements(item.sql) == (item.sql[:-1],)
        assert text.replace("'", "''") in item.sql


ROLES = Roles(frozenset({"app_role", 'od"d'}), {"hosted": "app_role"})


def test_grants_go_to_roles_that_are_there_and_the_others_are_named() -> None:
    item = Item(
        "ACL", "app", 'TABLE "t"',
        'REVOKE ALL ON TABLE "app"."t" FROM "hosted";\nSET SESSION AUTHORIZATION "hosted";\n'
        'GRANT SELECT ON TABLE "app"."t" TO "anon TO ""x""";\nGRANT SELECT("to") ON TABLE "app"."t" TO PUBLIC;\n'
        'RESET SESSION AUTHORIZATION;\nGRANT ALL ON TABLE "app"."t" TO "od""d" WITH GRANT OPTION;',
    )  # fmt: skip
    sifted = sift([item], ROLES)
    assert sifted.items[0].sql.splitlines() == [
        'REVOKE ALL ON TABLE "app"."t" FROM "app_role";',
        'GRANT SELECT("to") ON TABLE "app"."t" TO PUBLIC;',
        'GRANT ALL ON TABLE "app"."t" TO "od""d" WITH GRANT OPTION;',
    ]
    assert len(sifted.left_out) == 1
    assert '"anon TO ""x"""' in sifted.left_out[0]


def test_default_privileges_need_both_roles() -> None:
    text = 'ALTER DEFAULT PRIVILEGES FOR ROLE "{}" IN SCHEMA "app" GRANT SELECT ON TABLES  TO {};'
    found = [
        Item("DEFAULT ACL", "app", "x", text.format(*roles))
        for roles in (("hosted", "PUBLIC"), ("hosted", '"gone"'), ("gone", "PUBLIC"))
    ]
    sifted = sift(found, ROLES)
    assert [item.sql for item in sifted.items] == [text.format("app_role", "PUBLIC")]
    assert len(sifted.left_out) == 2


def test_policies_keep_the_roles_that_are_there() -> None:
    both = 'CREATE POLICY "p" ON "app"."t" AS RESTRICTIVE FOR SELECT TO "gone", "hosted" USING (true);'
    gone = 'CREATE POLICY "q" ON "app"."t" TO "gone" USING (true);'
    all_see = 'CREATE POLICY "r" ON "app"."t" USING (("a" = \' TO "gone"\'::"text"));'
    public = 'CREATE POLICY "s" ON "app"."t" TO PUBLIC USING (true);'
    sifted = sift([Item("POLICY", "app", "t p", sql) for sql in (both, gone, all_see, public)], ROLES)
    assert [item.sql for item in sifted.items] == [both.replace('"gone", "hosted"', '"app_role"'), all_see, public]
    assert len(sifted.left_out) == 2


def test_what_belongs_to_the_server_is_left_out_by_name() -> None:
    found = [
        Item("EXTENSION", "-", "hstore", "CREATE EXTENSION hstore;"),
        Item("COMMENT", "-", "EXTENSION hstore", "COMMENT ON EXTENSION hstore IS 'x';"),
        Item("EVENT TRIGGER", "-", "watch", "x"),
        Item("PUBLICATION", "-", "p", "x"),
        Item("COMMENT", "app", "TABLE t", "COMMENT ON TABLE t IS 'x';"),
    ]
    sifted = sift(found, NOBODY)
    assert [str(item) for item in sifted.items] == ["COMMENT app.TABLE t"]
    assert [line.split(":")[0] for line in sifted.left_out] == [
        "EXTENSION hstore", "COMMENT EXTENSION hstore", "EVENT TRIGGER watch", "PUBLICATION p",
    ]  # fmt: skip


def item(kind: str, name: str, sql: str) -> Item:
    return Item(kind, "app", name, sql)


PRIMARY = item("CONSTRAINT", "t p", 'ALTER TABLE ONLY "app"."t"\n    ADD CONSTRAINT "p" PRIMARY KEY ("id");')
UNIQUE = item("CONSTRAINT", "t u", 'ALTER TABLE ONLY "app"."t"\n    ADD CONSTRAINT "u" UNIQUE ("PRIMARY KEY");')
CHOSEN = item(
    "INDEX",
    "i",
    'CREATE UNIQUE INDEX "i" ON "app"."r" ("a");\n\nALTER TABLE ONLY "app"."r" REPLICA IDENTITY USING INDEX "i";',
)
INDEX, OTHER = (item("INDEX", n, f'CREATE INDEX "{n}" ON "app"."t" USING "btree" ("a");') for n in ("j", "k"))
ATTACH = item("INDEX ATTACH", "k", 'ALTER INDEX "app"."k" ATTACH PARTITION "app"."k1";')
FOREIGN = item(
    "FK CONSTRAINT",
    "r f",
    'ALTER TABLE ONLY "app"."r" ADD CONSTRAINT "f" FOREIGN KEY ("a") REFERENCES "app"."t"("id");',
)
TRIGGER = item("TRIGGER", "t g", 'CREATE TRIGGER "g" BEFORE INSERT ON "app"."t" EXECUTE FUNCTION "app"."g"();')
SECURITY = item("ROW SECURITY", "t", 'ALTER TABLE "app"."t" ENABLE ROW LEVEL SECURITY;')
RULED = item("RULE", "v _RETURN", 'CREATE OR REPLACE VIEW "app"."v" AS SELECT 1;')


def test_keys_come_first_and_what_acts_on_rows_last() -> None:
    order = waves([TRIGGER, FOREIGN, SECURITY, INDEX, ATTACH, UNIQUE, CHOSEN, PRIMARY, RULED])
    assert order.keys == (CHOSEN, PRIMARY)
    assert order.rest == (
        (False, (RULED,)), (True, (INDEX, UNIQUE)), (False, (ATTACH,)), (True, (FOREIGN,)),
        (False, (TRIGGER, SECURITY)),
    )  # fmt: skip


def test_only_plain_indexes_of_a_table_are_built_together() -> None:
    assert takes([OTHER], [INDEX]) is OTHER
    assert takes([UNIQUE, CHOSEN], [INDEX]) is CHOSEN
    assert takes([FOREIGN], [INDEX]) is None
    assert takes([INDEX], [FOREIGN]) is None
    assert takes([CHOSEN], [CHOSEN]) is None
    assert takes([], []) is None
