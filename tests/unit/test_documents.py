"""What the documents name exists: files and headings they link to, make targets, and `crossover` command lines with
each of their options, as the command itself takes them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel

from cli.__main__ import app
from components.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
ALERTS = ROOT / "observability/alerts.yaml"
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)[^)]*\)")
_BLOCK = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_ENDS = {"|", "&&", "||", ";", ">", ">>", "2>", "&"}
"""What ends a command on its line."""
_PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_/.-]*(\.json)?|\.\.\.|\$.*")
"""Stands for a value of the reader's: COMPONENT, FILE, SWEEP.json."""


def _name(document: Path) -> str:
    return str(document.relative_to(ROOT))


def anchors(document: Path) -> set[str]:
    """What its headings are called in a link, as GitHub has it."""
    text = re.sub(_BLOCK, "", document.read_text())
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_link_into_the_repository_leads_somewhere(document: Path) -> None:
    lost = []
    for link in _LINK.findall(document.read_text()):
        file, _, heading = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = document.parent / file if file else document
        if not target.exists() or (heading and target.suffix == ".md" and heading not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = re.findall(r"`([^`\n]+)`", document.read_text())
    blocks = re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL)
    named = {target for text in [*code, *blocks] for target in re.findall(r"\bmake ([a-z]+)\b", text)}
    assert named - targets == set()


def commands(text: str) -> Iterator[list[str]]:
    """The `crossover` command lines of a document, without the first word."""
    blocks = "\n".join(_BLOCK.findall(text)).replace("\\\n", " ")
    inline = _INLINE.findall(re.sub(_BLOCK, "", text))
    for line in [*blocks.splitlines(), *(code.replace("\n", " ") for code in inline)]:
        yield from of_line(line)


def of_line(line: str) -> Iterator[list[str]]:
    """The same of one line: from each `crossover` that begins a command to what ends it."""
    if "crossover" not in line or "crossover:" in line.split(" ", maxsplit=1)[0]:
        return
    # Optional parts and alternatives of a synopsis are asked for one and all.
    lexer = shlex.shlex(line.replace("[", " ").replace("]", " "), posix=True, punctuation_chars="|&;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    try:
        words = list(lexer)
    except ValueError:  # prose, with an apostrophe
        return
    for at, word in enumerate(words):
        begins = at == 0 or words[at - 1] in _ENDS | {"$", "exec"} or "=" in words[at - 1]
        if word == "crossover" and begins:
            end = next((n for n in range(at + 1, len(words)) if words[n] in _ENDS), len(words))
            yield words[at + 1 : end]


@dataclass(frozen=True)
class Told:
    """A command line, and where it stands."""

    where: str
    words: list[str]

    def __str__(self) -> str:
        return f"{self.where}: crossover {' '.join(self.words)}"


def all_told() -> list[Told]:
    """Those of every document, and of the alerts."""
    found = [Told(_name(document), words) for document in DOCUMENTS for words in commands(document.read_text())]
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            found += [
                Told(rule["alert"], words) for words in of_line(re.sub(r"{{.*?}}", "X", rule["annotations"]["command"]))
            ]
    return list({str(one): one for one in found}.values())


def problem(words: list[str]) -> str | None:
    """Why the command would refuse `words`; None where it takes them. What they say is asked of no cluster."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("crossover", [], resilient_parsing=True)
    while words and (commands := getattr(command, "commands", None)):
        if words[0].startswith("-") or (words[0] not in commands and command.invoke_without_command):
            break
        if words[0] not in commands:
            return f"there is no command {words[0]!r}"
        command = commands[words[0]]
        context = command.make_context(words[0], [], parent=context, resilient_parsing=True)
        words = words[1:]
    context.resilient_parsing = False
    try:
        given, rest, _ = command.make_parser(context).parse_args(list(words))
    except Exception as error:
        return getattr(error, "message", None) or str(error)
    for parameter in command.params:
        for value in _values(given.get(parameter.name)):
            if (known := _choices(parameter)) and value not in known:
                return f"{value!r} is none of {known}"
    return f"{rest} is left over" if rest else None


def _choices(parameter: Any) -> list[str]:
    """What may be said, where only some words may."""
    stated = parameter.type_descriptor.annotation
    kinds = [kind for kind in (stated, *get_args(stated)) if isinstance(kind, type) and issubclass(kind, Enum)]
    return [each.value for kind in kinds for each in kind]


def _values(value: Any) -> list[Any]:
    values = value if isinstance(value, list | tuple) else [value]
    return [each for each in values if isinstance(each, str) and not _PLACEHOLDER.fullmatch(each)]


@pytest.mark.parametrize("told", all_told(), ids=str)
def test_every_command_line_is_one_that_the_command_takes(told: Told) -> None:
    assert problem(told.words) is None, told


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("migrate event_bus --to shadow", None),
        ("migrate event_buss", "event_buss"),
        ("migrate event_bus --too shadow", "--too"),
        ("migrate event_bus --to beyond", "beyond"),
        ("audit lst", "lst"),
        ("audit list --since", "--since"),
        ("rollback event_bus database", "database"),
        ("backup --to FOLDER", None),
        ("backup verify FOLDER/NAME", None),
        ("fly", "fly"),
    ],
)
def test_what_the_command_refuses_is_seen(line: str, words: str | None) -> None:
    found = problem(line.split())
    assert (found is None) if words is None else (found is not None and words in found)


def test_command_lines_are_found_where_they_stand() -> None:
    text = "Run `crossover\nstatus`, or:\n```sh\ncrossover doctor; X=1 crossover status | head   # crossover fly\n```\n"
    assert sorted(commands(text)) == [["doctor"], ["status"], ["status"]]
    assert list(of_line("crossover backup --to F && crossover attest")) == [["backup", "--to", "F"], ["attest"]]
    assert len(all_told()) > 60


_KEY = re.compile(r"\bcrossover:([a-z_]+(?:\.[A-Za-z_]+)*)")


def unknown_key(path: str) -> bool:
    """Whether stack config has no such key."""
    kind: Any = Settings
    for part in path.split("."):
        models = [each for each in (kind, *get_args(kind)) if isinstance(each, type) and issubclass(each, BaseModel)]
        if not models:
            return False  # below an object whose keys are the reader's: references.NAME
        if part.isupper():
            return False  # a placeholder
        if part not in models[0].model_fields:
            return True
        kind = models[0].model_fields[part].annotation
    return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_key_of_config_that_is_named_exists(document: Path) -> None:
    components = "|".join(("foundation", "transition", "module", "workloads"))
    named = {key for key in _KEY.findall(document.read_text()) if not re.match(components, key)}
    assert {key for key in named if unknown_key(key)} == set()


def test_a_key_that_there_is_not_is_seen() -> None:
    assert unknown_key("event_bus.partitons") and unknown_key("nothing")
    assert not unknown_key("event_bus.kafka.brokers") and not unknown_key("images.references.NAME")
    assert not unknown_key("llm_service.own.aliases.default")


def test_the_index_of_documents_has_each_of_them() -> None:
    index = (ROOT / "docs/README.md").read_text()
    named = {path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"}
    assert {name for name in named if f"({name}" not in index} == set()


def test_the_documents_are_found() -> None:
    assert ROOT / "README.md" in DOCUMENTS
    assert len(DOCUMENTS) > 5
