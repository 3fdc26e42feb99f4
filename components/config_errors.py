"""How a wrong stack config is told: file, key path, value, what would follow, and the fix. Pure."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

PROJECT = "crossover"
_SHOWN = 120
_UNFIT = "unfit"


def unfit(reason: str, *, fix: str, key: str = "") -> PydanticCustomError:
    """What a validator raises: `reason` with what would follow; `fix` is what to set (`key` of) the value to."""
    return PydanticCustomError(_UNFIT, "{reason}", {"reason": reason, "key": key, "fix": fix})


def problems_of(error: ValidationError, stack: str, root: type[BaseModel]) -> list[str]:
    """One line a problem, in the order of the keys."""
    return [_problem(item, f"Pulumi.{stack}.yaml", root) for item in error.errors(include_url=False)]


def _problem(item: ErrorDetails, file: str, root: type[BaseModel]) -> str:
    loc = [str(part) for part in item["loc"]]
    path = f"{PROJECT}:{'.'.join(loc)}"
    setting = f"pulumi config set --path {path}"
    kind = item["type"]
    if kind == "missing":
        secret = " --secret" if _is_secret(root, loc) else ""
        if path == f"{PROJECT}:kube_context":
            return (
                f"  {file}: {path} is not set: there is no cluster to deploy to, and none is guessed. "
                f"Fix: pulumi config set {path} CONTEXT (kubectl config get-contexts lists them), or set "
                "CROSSOVER_KUBE_CONTEXT"
            )
        return f"  {file}: {path} is not set. Fix: {setting} VALUE{secret}"
    if kind == "extra_forbidden":
        known = _keys(root, loc[:-1])
        nearest = _nearest(loc[-1], known)
        hint = f"Did you mean {nearest!r}? " if nearest else ""
        return (
            f"  {file}: {path} is no setting, so it would have no effect. {hint}Known keys: {', '.join(known)}. "
            f"Fix: pulumi config rm --path {path}, and set the right one"
        )
    value = "(secret, not shown)" if _is_secret(root, loc) else _brief(item["input"])
    if kind in {"enum", "literal_error"}:
        choices = _choices(root, loc)
        nearest = _nearest(str(item["input"]), choices)
        hint = f"did you mean {nearest!r}? " if nearest else ""
        return (
            f"  {file}: {path} is {value}, which does not exist: {hint}It is one of {', '.join(choices)}. "
            f"Fix: {setting} {nearest or choices[0]}"
        )
    if kind == _UNFIT:
        context = item["ctx"]
        key = (f"{path}.{context['key']}" if loc else f"{path}{context['key']}") if context["key"] else path
        told = f"{path}: " if loc else ""  # of all of config, the reason itself says what it is about
        return f"  {file}: {told}{context['reason']}. Fix: pulumi config set --path {key} {context['fix']}"
    return f"  {file}: {path} is {value}: {item['msg']}. Fix: {setting} VALUE"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _nearest(word: str, known: Sequence[str]) -> str | None:
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return found[0] if found else None


def _annotation(root: type[BaseModel], loc: Sequence[str]) -> Any:
    """The type at `loc`; None where the path leads out of the models."""
    current: Any = root
    for part in loc:
        current = _inside(current, part)
    return current


def _inside(annotation: Any, part: str) -> Any:
    """The type of `part` of what is annotated so: a field, an entry, an item; None where there is none."""
    model = _model(annotation)
    if model is not None:
        return model.model_fields[part].annotation if part in model.model_fields else None
    for option in _options(annotation):
        holder, held = typing.get_origin(option), typing.get_args(option)
        if holder in (dict, tuple):
            return held[1] if holder is dict else held[0]
    return None


def _model(annotation: Any) -> type[BaseModel] | None:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _options(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _is_secret(root: type[BaseModel], loc: Sequence[str]) -> bool:
    return SecretStr in _options(_annotation(root, loc))


def _keys(root: type[BaseModel], loc: Sequence[str]) -> list[str]:
    model = _model(_annotation(root, loc))
    return sorted(model.model_fields) if model is not None else []


def _choices(root: type[BaseModel], loc: Sequence[str]) -> list[str]:
    for option in _options(_annotation(root, loc)):
        if isinstance(option, type) and issubclass(option, Enum):
            return [str(member.value) for member in option]
        if typing.get_origin(option) is typing.Literal:
            return [str(choice) for choice in typing.get_args(option)]
    return []
