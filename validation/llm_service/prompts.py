"""Labelled prompts: what a line of a prompt file holds, and how such files are read.

The shipped set is prompts.jsonl beside this file. Users add files of their own; see docs/llm-quality.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from validation.llm_service import code, schemas

SHIPPED = Path(__file__).with_name("prompts.jsonl")


class BadPrompts(ValueError):
    """A prompt file that cannot be used: the file and the line, what is wrong there, and what to do."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Exact(_Frozen):
    """The answer is one of `labels`, and the right one is `answer`."""

    by: Literal["exact"]
    labels: tuple[str, ...] = Field(min_length=2)
    answer: str

    @model_validator(mode="after")
    def _known(self) -> Self:
        if len({label.casefold() for label in self.labels}) < len(self.labels):
            raise ValueError("labels has one twice: name each once")
        if self.answer not in self.labels:
            raise ValueError(f"answer {self.answer!r} is none of the labels: no answer would ever be right")
        return self


class JsonValue(_Frozen):
    """The answer is JSON that fits `schema`, and the right one is `value`."""

    by: Literal["json"]
    form: Mapping[str, Any] = Field(alias="schema")
    value: Any

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if wrong := schemas.problem(self.form):
            raise ValueError(wrong)
        if not schemas.fits(self.value, self.form):
            raise ValueError("value does not fit schema: no answer would ever be right")
        return self


class Number(_Frozen):
    """The answer is one number, at most `tolerance` away from `answer`."""

    by: Literal["number"]
    answer: float = Field(allow_inf_nan=False)
    tolerance: float = Field(ge=0, allow_inf_nan=False)


class Refusal(_Frozen):
    """The answer is ACCEPT, or REJECT and one of `codes`. `answer`: the codes that are right; none: it is accepted."""

    by: Literal["refusal"]
    codes: tuple[str, ...] = Field(min_length=1)
    answer: tuple[str, ...]

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := set(self.answer) - set(self.codes):
            raise ValueError(f"answer names {', '.join(sorted(unknown))}, which codes does not: add it there")
        return self


class Code(_Frozen):
    """The answer is one Python function of that name and those parameters; see code.py for the features."""

    by: Literal["code"]
    function: str = Field(pattern=r"^[A-Za-z_]\w*$")
    parameters: tuple[str, ...]
    uses: tuple[str, ...] = ()
    avoids: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := [one for one in (*self.uses, *self.avoids) if not code.is_feature(one)]:
            raise ValueError(f"uses and avoids name {', '.join(unknown)}, which nothing looks for")
        return self


class Prompt(_Frozen):
    """One question and its right answer. `max_tokens` bounds what either side may say."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=80)
    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)
    system: str = ""
    user: str = Field(min_length=1)
    max_tokens: int = Field(ge=1, le=4096)
    expect: Annotated[Exact | JsonValue | Number | Refusal | Code, Field(discriminator="by")]
    tags: tuple[str, ...] = ()

    @property
    def messages(self) -> list[dict[str, str]]:
        """As the chat API takes them."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.user}]


def load(*files: Path) -> tuple[Prompt, ...]:
    """The shipped prompts, and those of `files`. Raises BadPrompts."""
    return read(SHIPPED, *files)


def read(*files: Path) -> tuple[Prompt, ...]:
    """The prompts of `files`, in their order. Raises BadPrompts."""
    found: dict[str, Prompt] = {}
    for file in files:
        own = 0
        for number, line in enumerate(_lines(file), 1):
            if not line.strip():
                continue
            prompt = _parsed(line, f"{file}, line {number}")
            if prompt.id in found:
                raise BadPrompts(f"{file}, line {number}: id {prompt.id!r} is taken: give each prompt its own")
            found[prompt.id] = prompt
            own += 1
        if not own:
            raise BadPrompts(f"{file} holds no prompts: nothing could be judged by it; write one JSON object a line")
    return tuple(found.values())


def stratified(prompts: Sequence[Prompt], per_kind: int) -> tuple[Prompt, ...]:
    """At most `per_kind` of each kind, spread evenly over it: the same ones each time."""
    chosen: list[Prompt] = []
    for _, group in groupby(sorted(prompts, key=lambda one: one.kind), key=lambda one: one.kind):
        kind = list(group)
        take = min(per_kind, len(kind))
        chosen += [kind[place * len(kind) // take] for place in range(take)]
    return tuple(chosen)


def few(prompts: Sequence[Prompt], count: int) -> tuple[Prompt, ...]:
    """`count` of them at most, of as many kinds as that gives: the same ones each time."""
    kinds = len({prompt.kind for prompt in prompts})
    found = stratified(prompts, -(-count // kinds)) if kinds else ()
    take = min(count, len(found))
    return tuple(found[place * len(found) // take] for place in range(take))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise BadPrompts(f"{file} cannot be read: {error.strerror}; name a JSONL file of prompts") from None
    except UnicodeDecodeError as error:
        raise BadPrompts(f"{file} is not UTF-8 at byte {error.start}: save it as UTF-8") from None


def _parsed(line: str, where: str) -> Prompt:
    try:
        body = json.loads(line)
    except ValueError as error:
        raise BadPrompts(f"{where}: it is not JSON ({error}); write one JSON object a line") from None
    try:
        return Prompt.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the line"
        raise BadPrompts(
            f"{where}: {place}: {first['msg'].removeprefix('Value error, ')}; correct it or take the line out"
        ) from None
