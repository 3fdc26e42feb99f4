"""docs/database-preflight.md and the items are in step: names, sides, journeys, and what may be accepted."""

from __future__ import annotations

from pathlib import Path

from cutover.database.preflight import ACCEPTABLE, ITEMS, Journey
from cutover.database.preflight.item import On

PAGE = Path(__file__).parents[3] / "docs" / "database-preflight.md"
_OF = {On.EACH: "each", On.SOURCE: "source", On.TARGET: "target", On.HOSTED: "hosted", On.SELFHOSTED: "selfhosted"}


def rows() -> dict[str, list[str]]:
    """The table, by item; the other columns."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `"):
            name, *others = (cell.strip() for cell in line.strip().strip("|").split("|"))
            assert len(others) == 6, line
            assert name not in found, name
            found[name.strip("`")] = others
    return found


def test_the_page_tells_of_every_item_and_of_no_other() -> None:
    assert sorted(rows()) == sorted(["reachable", *(item.name for item in ITEMS)])


def test_the_page_says_of_which_side_and_before_what_each_is_asked() -> None:
    told = rows()
    for item in ITEMS:
        of, before, *_ = told[item.name]
        journeys = ", ".join(one.value for one in Journey if one in item.journeys)
        assert (of, before) == (_OF[item.on], journeys), item.name


def test_the_page_says_what_may_be_accepted() -> None:
    assert {name for name, cells in rows().items() if cells[5] == "yes"} == ACCEPTABLE


def test_the_page_says_for_each_what_happens_and_the_fix() -> None:
    for name, cells in rows().items():
        assert cells[2] and cells[3], name
        assert cells[4] or name == "materialised views to fill"


def test_every_item_has_a_name_of_its_own_and_a_fix() -> None:
    names = [item.name for item in ITEMS]
    assert len(names) == len(set(names))
    assert all(item.fix and item.expected for item in ITEMS)
