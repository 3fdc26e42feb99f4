"""The `random` stand-in, driven by the real CLI."""

from __future__ import annotations

import base64
import re
import uuid

import pytest

from tests.plugins.cli import Project

pytestmark = pytest.mark.plugins

PROGRAM = """
    import pulumi
    import pulumi_random as random

    config = pulumi.Config()
    password = random.RandomPassword(
        "password", length=config.get_int("length") or 24, special=True, override_special="_%", min_special=2,
        min_numeric=3, keepers={"round": config.get("round") or "1"},
    )
    text = random.RandomString("text", length=9, upper=False, special=False)
    number = random.RandomInteger("number", min=5, max=7)
    identifier = random.RandomId("identifier", byte_length=4, prefix="id-")
    unique = random.RandomUuid("unique")
    pet = random.RandomPet("pet", length=3, separator=".", prefix="the")
    order = random.RandomShuffle("order", inputs=["a", "b", "c"])
    pulumi.export("password", password.result)
    pulumi.export("text", text.result)
    pulumi.export("number", number.result)
    pulumi.export("hex", identifier.hex)
    pulumi.export("dec", identifier.dec)
    pulumi.export("unique", unique.result)
    pulumi.export("pet", pet.id)
    pulumi.export("order", order.results)
"""


def test_values_follow_their_rules_and_stay_until_their_inputs_change(project: Project) -> None:
    project.write(PROGRAM)
    assert project.preview().counts() == {"create": 8}
    assert project.up().counts() == {"created": 8}
    made = project.outputs()
    assert re.fullmatch(r"[a-zA-Z0-9_%]{24}", made["password"])
    assert len(re.findall(r"[_%]", made["password"])) >= 2
    assert len(re.findall(r"\d", made["password"])) >= 3
    assert re.fullmatch(r"[a-z0-9]{9}", made["text"])
    assert made["number"] in {5, 6, 7}
    assert re.fullmatch(r"id-[0-9a-f]{8}", made["hex"])
    assert made["dec"] == f"id-{int(made['hex'][3:], 16)}"
    assert uuid.UUID(made["unique"]).version == 4
    assert re.fullmatch(r"the\.[a-z]+\.[a-z]+\.[a-z]+", made["pet"])
    assert sorted(made["order"]) == ["a", "b", "c"]

    again = project.up()
    assert again.counts() == {"unchanged": 8}
    project.refresh()
    assert project.outputs() == made

    project.set("round", "2")
    changed = project.up()
    assert changed.counts() == {"replaced": 1, "unchanged": 7}
    later = project.outputs()
    assert later.pop("password") != made.pop("password")
    assert later == made

    project.destroy()
    assert project.resources("") == []


def test_a_password_is_secret_in_state_and_output(project: Project) -> None:
    project.write(PROGRAM)
    result = project.up()
    password = project.outputs()["password"]
    encoded = base64.b64encode(password.encode()).decode().rstrip("=")
    for text in (project.written(), result.output, project.preview("--diff").output, project.preview("--json").output):
        assert password not in text
        assert encoded not in text
    (resource,) = project.resources("RandomPassword")
    assert resource["outputs"]["result"].keys() == {"4dabf18193072939515e22adb298388d", "ciphertext"}


def test_what_cannot_be_made_is_refused_with_the_reason(project: Project) -> None:
    project.write("""
        import pulumi_random as random

        random.RandomPassword("short", length=3, min_numeric=2, min_upper=2)
    """)
    result = project.up(status=1)
    assert "length is 3, but the minimums of the character classes add up to 4" in result.output


def test_an_existing_password_can_be_imported(project: Project) -> None:
    project.write("")
    project.up()
    project.run("import", "random:index/randomPassword:RandomPassword", "old", "s3cret-of-old", "--yes",
                "--protect=false", "--generate-code=false")  # fmt: skip
    (resource,) = project.resources("RandomPassword")
    assert resource["inputs"]["length"] == len("s3cret-of-old")
    assert "s3cret-of-old" not in str(resource)
